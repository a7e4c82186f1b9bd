from itertools import pairwise

import numpy as np
import pytest

from edge.drawn.backdrop import Light, light, render
from edge.drawn.perspective import Camera, draw, pyramid
from edge.drawn.scenes import MIN_SIDE_PX, Flight, scene, score_passes
from edge.drawn.signposts import line_up, stand_anywhere
from edge.drawn.signs import FLIGHT_CLASSES
from edge.errors import InputError

SMALL = (320, 180)
PLAIN = Light(gain=1, gamma=1, tint=(1, 1, 1), defocus_px=0, motion_px=(1, 1), noise=0, sky=0)


def side(truth):
    x1, y1, x2, y2 = truth.box_xyxy
    return min(x2 - x1, y2 - y1)


@pytest.fixture(scope="module")
def flight():
    return Flight(seed=3, frames=140)


@pytest.mark.parametrize("size_wh", [(960, 540), SMALL, (64, 64), (101, 77)])
def test_a_frame_has_the_size_that_was_asked(size_wh):
    for made in (Flight(1, size_wh, frames=30).frame(20), scene(1, size_wh)):
        assert made.image.shape == (size_wh[1], size_wh[0], 3)
        assert made.image.dtype == np.uint8


def test_a_frame_depends_on_seed_size_and_index_alone():
    forwards = {index: Flight(5, SMALL, frames=90).frame(index) for index in (0, 40, 80)}
    for index in (80, 0, 40):
        again = Flight(5, SMALL, frames=90).frame(index)
        assert np.array_equal(again.image, forwards[index].image)
        assert again.truths == forwards[index].truths
    assert not np.array_equal(forwards[0].image, forwards[40].image)
    assert not np.array_equal(Flight(6, SMALL, frames=90).frame(0).image, forwards[0].image)


def test_fps_changes_no_frame():
    assert np.array_equal(Flight(2, SMALL, 20, fps=5).frame(9).image, Flight(2, SMALL, 20, fps=60).frame(9).image)


def test_a_frame_may_be_written_on():
    Flight(2, SMALL, 20).frame(9).image[:] = 0
    assert Flight(2, SMALL, 20).frame(9).image.any()


@pytest.mark.parametrize("seed", range(6))
def test_a_box_is_where_the_face_is(seed):
    rng = np.random.default_rng(seed)
    camera = Camera(0.2, 2.4, 10.0, *rng.normal(0, 6, 2), rng.normal(0, 2), (960, 540))
    sign = stand_anywhere(rng, camera, 0)
    x1, y1, x2, y2 = sign.box_xyxy(camera)
    with_face, without = (render(camera, [sign.pole()], faces, PLAIN, (seed, 0)) for faces in ([sign.face()], []))
    rows, columns = np.nonzero(np.abs(with_face.astype(int) - without).max(axis=2) > 8)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    truth = np.clip([x1, y1, x2, y2], 0, [960, 540, 960, 540])
    assert np.abs(np.array(seen) - truth).max() <= 1.5


def test_truths_are_where_signs_are_in_a_flight():
    # A shorter flight lacks the signs that only the longer one passes: what differs is those signs and their poles.
    index = 25
    longer, shorter = Flight(0, frames=300), Flight(0, frames=index + 1)
    differs = np.abs(longer.frame(index).image.astype(int) - shorter.frame(index).image).max(axis=2) > 6
    extra = [truth for truth in longer.signs_in(index) if truth not in shorter.signs_in(index)]
    visible = [truth for truth in extra if truth in longer.truths(index)]
    assert visible
    explained = np.zeros_like(differs)
    for x1, y1, x2, y2 in (truth.box_xyxy for truth in extra):
        explained[int(y1) - 4 : int(y2) + 5, int(x1) - 4 : int(x2) + 5] = True
        middle = int((x1 + x2) / 2)
        explained[int(y1) :, middle - 6 : middle + 7] = True
    assert not (differs & ~explained).any()
    for truth in visible:
        x1, y1, x2, y2 = (round(value) for value in truth.box_xyxy)
        assert differs[y1:y2, x1:x2].mean() > 0.5


def test_a_sign_is_visible_from_12_px_and_while_it_is_whole(flight):
    small, cut = 0, 0
    for index in range(flight.frames):
        truths = flight.truths(index)
        for truth in flight.signs_in(index):
            x1, y1, x2, y2 = truth.box_xyxy
            whole = x1 >= 0 and y1 >= 0 and x2 <= 960 and y2 <= 540
            assert (truth in truths) == (whole and side(truth) >= MIN_SIDE_PX)
            small += side(truth) < MIN_SIDE_PX
            cut += not whole
    assert small
    assert cut


def test_passes_agree_with_truths(flight):
    seen = {}
    for index in range(flight.frames):
        for truth in flight.truths(index):
            seen.setdefault((truth.pass_id, truth.class_id), []).append(index)
    passes = flight.passes()
    assert [p.pass_id for p in passes] == sorted(p.pass_id for p in passes)
    assert {(p.pass_id, p.class_id): (p.first_frame, p.last_frame) for p in passes} == {key: (found[0], found[-1]) for key, found in seen.items()}
    assert flight.frame(7).truths == flight.truths(7)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_signs_grow_from_12_to_120_px(seed):
    flight = Flight(seed)
    passes = flight.passes()
    sides = {p.pass_id: [] for p in passes}
    for index in range(flight.frames):
        for truth in flight.truths(index):
            sides[truth.pass_id].append(side(truth))
    assert 15 <= len(passes) <= 25
    assert sum(min(grown) < 13 for grown in sides.values()) >= len(passes) - 2
    assert min(max(grown) for grown in sides.values()) > 50
    assert 100 <= max(max(grown) for grown in sides.values()) < 140
    assert {p.class_id for p in passes} <= set(FLIGHT_CLASSES)
    assert len({p.class_id for p in passes}) == min(len(passes), len(FLIGHT_CLASSES))
    assert min(p.last_frame - p.first_frame for p in passes) >= 20


@pytest.mark.parametrize("frames", [1, 2, 10])
def test_the_shortest_flight_has_a_sign(frames):
    assert Flight(4, frames=frames).passes()


def test_signs_do_not_hide_each_other():
    for index in range(0, 600, 5):
        signs = sorted(Flight(7).truths(index), key=lambda truth: truth.pass_id)
        for near, far in pairwise(signs):
            a, b = np.array(near.box_xyxy), np.array(far.box_xyxy)
            assert (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) < 0).any()


def test_light_changes_gently_and_noise_does_not_repeat():
    looks = [light(0, index, 960) for index in range(300)]
    gains = np.array([look.gain for look in looks])
    assert np.ptp(gains) > 0.05
    assert np.abs(np.diff(gains)).max() < 0.02
    assert len({look.motion_px for look in looks}) > 1
    assert all(across % 2 == down % 2 == 1 for across, down in (look.motion_px for look in looks))


@pytest.mark.parametrize("seed", range(12))
def test_a_scene_has_one_to_four_visible_signs(seed):
    size_wh = (960, 540) if seed % 2 else (64, 80)
    truths = scene(seed, size_wh).truths
    assert 1 <= len(truths) <= 4
    for truth in truths:
        x1, y1, x2, y2 = truth.box_xyxy
        assert side(truth) >= MIN_SIDE_PX
        assert x1 >= 0
        assert y1 >= 0
        assert x2 <= size_wh[0]
        assert y2 <= size_wh[1]


def test_a_scene_follows_from_its_seed():
    assert np.array_equal(scene(9, SMALL).image, scene(9, SMALL).image)
    assert not np.array_equal(scene(9, SMALL).image, scene(10, SMALL).image)


def middle_of(flight, number):
    """A frame in the middle of a pass, and the truth about its sign."""
    found = flight.passes()[number]
    index = (found.first_frame + found.last_frame) // 2
    return index, next(truth for truth in flight.truths(index) if truth.pass_id == found.pass_id)


def other(class_id):
    return next(c for c in FLIGHT_CLASSES if c != class_id)


def told(flight, number, track, class_id=None, shift=0.0):
    index, truth = middle_of(flight, number)
    return index, track, truth.class_id if class_id is None else class_id, tuple(value + shift * side(truth) for value in truth.box_xyxy)


def test_passes_are_scored(flight):
    total = len(flight.passes())
    assert total >= 4

    def score(*reports):
        return score_passes(flight, list(reports))

    wrong = other(flight.passes()[0].class_id)
    assert score() == {"all": total, "right": 0, "wrong": 0, "missed": total, "twice": 0, "false": 0}
    assert score(*(told(flight, number, number) for number in range(total))) == {"all": total, "right": total, "wrong": 0, "missed": 0, "twice": 0, "false": 0}
    assert score(told(flight, 0, 1, wrong)) == {"all": total, "right": 0, "wrong": 1, "missed": total - 1, "twice": 0, "false": 0}
    once_wrong = {"all": total, "right": 0, "wrong": 1, "missed": total - 1, "twice": 0, "false": 0}
    assert score(told(flight, 0, 1), told(flight, 0, 1, wrong)) == once_wrong
    assert score(told(flight, 0, 1, wrong), told(flight, 0, 1)) == once_wrong
    assert score(told(flight, 0, 1), told(flight, 0, 1)) == {"all": total, "right": 1, "wrong": 0, "missed": total - 1, "twice": 0, "false": 0}
    assert score(told(flight, 0, 1), told(flight, 0, 2)) == {"all": total, "right": 1, "wrong": 0, "missed": total - 1, "twice": 1, "false": 0}
    far_off = (10, 9, 14, (300.0, 500.0, 330.0, 530.0))
    assert score(far_off, far_off, told(flight, 1, 3)) == {"all": total, "right": 1, "wrong": 0, "missed": total - 1, "twice": 0, "false": 1}


def test_a_track_that_met_a_sign_is_not_false(flight):
    index, truth = middle_of(flight, 0)
    stray = (index, 1, truth.class_id, (0.0, 500.0, 20.0, 520.0))
    assert score_passes(flight, [told(flight, 0, 1), stray])["false"] == 0


@pytest.mark.parametrize(("shift", "right"), [(0.0, 1), (0.2, 1), (0.45, 1), (0.8, 0), (2.0, 0)])
def test_a_report_must_overlap_the_sign(flight, shift, right):
    # At 0.45 sides the overlap is 0.18, but the report's centre still lies in the sign.
    assert score_passes(flight, [told(flight, 0, 1, shift=shift)])["right"] == right


def test_signs_at_the_edge_of_sight_count(flight):
    first = flight.passes()[1]
    early = next(t for t in flight.signs_in(first.first_frame - 4) if t.pass_id == first.pass_id)
    assert early not in flight.truths(first.first_frame - 4)
    assert score_passes(flight, [(first.first_frame - 4, 0, first.class_id, early.box_xyxy)])["right"] == 1


@pytest.mark.parametrize(
    "arguments",
    [{"seed": -1}, {"size_wh": (63, 540)}, {"size_wh": (960, 0)}, {"frames": 0}, {"fps": 0.0}, {"fps": -1.0}, {"fps": float("nan")}, {"fps": float("inf")}],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(InputError, match="wanted"):
        Flight(**arguments)


@pytest.mark.parametrize("arguments", [(-1,), (0, (10, 10))])
def test_bad_scenes_are_refused(arguments):
    with pytest.raises(InputError, match="wanted"):
        scene(*arguments)


@pytest.mark.parametrize("index", [-1, 140, 10_000])
def test_frames_outside_the_flight_are_refused(flight, index):
    for ask in (flight.frame, flight.truths, flight.signs_in, lambda i: score_passes(flight, [(i, 0, 14, (0, 0, 9, 9))])):
        with pytest.raises(InputError, match="from 0 to 139"):
            ask(index)


def test_a_longer_road_begins_with_the_shorter_one():
    assert line_up(3, 900)[: len(line_up(3, 300))] == line_up(3, 300)


def test_a_picture_outside_of_the_image_is_not_drawn():
    image = np.zeros((20, 20, 4), np.uint8)
    picture = pyramid(np.full((16, 16, 4), 255, np.uint8))
    square = np.array([[0.0, 0.0], [8, 0], [8, 8], [0, 8]])
    for away in ((-30, 0), (0, -30), (40, 0), (0, 40)):
        draw(image, picture, square + away)
    assert not image.any()
    draw(image, picture, square - 4)
    assert (image[:3, :3, :3] == 255).all()
    assert not image[5:, 5:].any()


@pytest.mark.parametrize("side_px", [3.0, 6.5, 30.0])
def test_a_small_picture_keeps_its_light(side_px):
    # A chessboard is the hardest picture: sampled it would flicker, averaged it is grey.
    board = np.kron(np.indices((128, 128)).sum(axis=0) % 2, np.ones((2, 2)))[:, :, None] * np.array([255, 255, 255, 0]) + np.array([0, 0, 0, 255])
    image = np.zeros((60, 60, 4), np.uint8)
    draw(image, pyramid(board.astype(np.uint8)), np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]) * side_px + 10.3, finer=4)
    assert abs(image[:, :, :3].mean() * 3600 / 127.5 / side_px**2 - 1) < 0.06
