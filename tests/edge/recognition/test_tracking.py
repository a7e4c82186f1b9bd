"""Tracks by hand: what a tracker says, when, and how often."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from edge.geometry.similarity import Similarity
from edge.recognition.tracking import Tracker, TrackerSettings, distinct
from edge.result import Detection

SETTINGS = TrackerSettings(entry_votes=3, entry_frames=30, entry_share=0.7, entry_side_px=10, window=6, max_age=10)
K = SETTINGS.entry_votes


def sign(x=100.0, y=100.0, side=40.0, class_id=1, confidence=0.9):
    return Detection((x, y, x + side, y + side), class_id, confidence)


def feed(tracker, frames):
    """Reports by frame, as (frame, event, track, class id)."""
    return [(index, r.event, r.track, r.class_id) for index, detections in enumerate(frames) for r in tracker.update(detections)]


@pytest.fixture
def tracker():
    return Tracker(SETTINGS)


@pytest.mark.parametrize("frames", [0, 1, 50])
def test_nothing_seen_is_nothing_said(tracker, frames):
    assert feed(tracker, [[]] * frames) == []
    assert tracker.tracks == ()
    assert tracker.finish() == []


def test_a_sign_is_announced_once_enough_votes_agree(tracker):
    assert feed(tracker, [[sign(100 + i)] for i in range(40)]) == [(K - 1, "sighting", 1, 1)]


def test_what_a_closer_look_refuses_begins_anew(tracker):
    answers, asked = [False, True], []

    def confirms(detection):
        asked.append(detection.box_xyxy[0])
        return answers[len(asked) - 1]

    events = [(index, r.event, r.track) for index in range(40) for r in tracker.update([sign(100 + index)], confirms=confirms)]
    assert events == [(2 * K - 2, "sighting", 1)]
    assert asked == [100 + K - 1, 100 + 2 * K - 2]  # the box of that frame, once for each announcement


def test_a_report_says_where_and_how_sure(tracker):
    for x, confidence in ((100, 0.8), (102, 0.9)):
        tracker.update([sign(x, confidence=confidence)])
    (report,) = tracker.update([sign(104, confidence=1.0)])
    assert report.box_xyxy == (104, 100, 144, 140)
    assert report.confidence == pytest.approx(0.9)


def test_votes_need_not_stand_in_a_row(tracker):
    seen = [[sign()], [], [sign()], [], [], [sign()]]
    assert feed(tracker, seen) == [(5, "sighting", 1, 1)]


def test_what_is_seen_now_and_then_is_no_sign():
    blinking = [[sign()] if index % 4 == 0 else [] for index in range(60)]
    assert feed(Tracker(replace(SETTINGS, entry_frames=8)), blinking) == []
    assert feed(Tracker(replace(SETTINGS, entry_frames=9)), blinking)[0] == (8, "sighting", 1, 1)


def test_too_few_votes_are_never_announced(tracker):
    flicker = [[sign()]] * (K - 1) + [[]] * (SETTINGS.max_age + 1)
    assert feed(tracker, flicker * 3) == []
    assert tracker.finish() == []


def test_disagreement_delays_the_announcement(tracker):
    seen = [[sign(class_id=c)] for c in (2, 1, 2, 1, 1, 1, 1)]
    assert feed(tracker, seen) == [(6, "sighting", 1, 1)]


def test_a_sure_vote_outweighs_doubtful_ones():
    seen = [[sign(class_id=c, confidence=p)] for c, p in ((1, 0.99), (2, 0.2), (1, 0.99), (2, 0.2), (1, 0.99))]
    assert feed(Tracker(SETTINGS), seen) == [(4, "sighting", 1, 1)]


def test_a_gap_ends_no_track(tracker):
    there = [[sign(100 + 3 * i)] for i in range(8)]
    gap = [[]] * SETTINGS.max_age
    back = [[sign(100 + 3 * i)] for i in range(8 + SETTINGS.max_age, 30)]
    assert feed(tracker, there + gap + back) == [(K - 1, "sighting", 1, 1)]
    assert [report.track for report in tracker.finish()] == [1]


def test_a_sign_is_gone_when_it_was_not_seen_for_long(tracker):
    reports = feed(tracker, [[sign()]] * 5 + [[]] * 30)
    assert reports == [(K - 1, "sighting", 1, 1), (5 + SETTINGS.max_age, "gone", 1, 1)]
    assert tracker.finish() == []


def test_the_next_sign_in_the_same_place_is_another(tracker):
    reports = feed(tracker, [[sign()]] * 5 + [[]] * 30 + [[sign(class_id=2)]] * 5)
    assert [report[1:] for report in reports] == [("sighting", 1, 1), ("gone", 1, 1), ("sighting", 2, 2)]


def test_finish_takes_leave_of_each_announced_track(tracker):
    feed(tracker, [[sign(), sign(300)]] * 5 + [[sign(), sign(300), sign(500)]])
    assert sorted((report.event, report.track) for report in tracker.finish()) == [("gone", 1), ("gone", 2)]
    assert tracker.finish() == []
    assert tracker.update([]) == []


def test_a_class_that_was_wrong_is_corrected(tracker):
    reports = feed(tracker, [[sign(class_id=1)]] * 5 + [[sign(class_id=2)]] * 20)
    assert [report[1:] for report in reports] == [("sighting", 1, 1), ("update", 1, 2)]


def test_a_few_wrong_votes_correct_nothing(tracker):
    reports = feed(tracker, [[sign(class_id=1)]] * 6 + [[sign(class_id=2)]] * 2 + [[sign(class_id=1)]] * 6)
    assert [report[1:] for report in reports] == [("sighting", 1, 1)]


def test_a_growing_sign_is_updated_a_few_times_only(tracker):
    sides = [12 * 1.04**i for i in range(60)]
    reports = feed(tracker, [[sign(300 + 2 * i, 200 - i, side)] for i, side in enumerate(sides)])
    events = Counter(event for _, event, _, _ in reports)
    assert events["sighting"] == 1
    assert 1 <= events["update"] <= math.log(sides[-1] / sides[0], SETTINGS.better_view)


def test_a_small_fast_sign_is_one_track():
    """Sixteen pixels that move by fourteen a frame hardly overlap with themselves."""
    tracker = Tracker(SETTINGS)
    assert feed(tracker, [[sign(50 + 14 * i, 80, 16)] for i in range(30)]) == [(K - 1, "sighting", 1, 1)]


PAN = Similarity(right=70, down=-10)


def test_a_sign_that_moves_with_the_picture_by_more_than_its_size_is_one_track(tracker):
    """Without the picture's motion the first two detections of it never meet."""
    for compensated, wanted in ((True, [(K - 1, "sighting", 1, 1)]), (False, [])):
        tracker, said = Tracker(SETTINGS), []
        for index in range(12):
            if compensated:
                tracker.move(PAN)
            if index not in (5, 6):
                said += [(index, r.event, r.track, r.class_id) for r in tracker.update([sign(70 * index, 200 - 10 * index, 30)])]
            else:
                said += tracker.update([])
        assert said == wanted


def test_a_signs_own_velocity_is_beside_the_pictures(tracker):
    """It moves by 7 a frame in a picture that moves by 70; the pan ends at once, and the sign goes on."""
    for index in range(10):
        tracker.move(PAN)
        tracker.update([sign(77 * index, 200 - 10 * index)])
    (track,) = tracker.tracks
    tracker.update([])
    (later,) = tracker.tracks
    assert later.box_xyxy[0] - track.box_xyxy[0] == pytest.approx(7, abs=0.7)  # a predicted velocity is damped
    assert later.box_xyxy[1] - track.box_xyxy[1] == pytest.approx(0, abs=0.1)


def test_what_is_left_alone_moves_with_the_picture(tracker):
    before, after = sign(100).box_xyxy, sign(170, 90).box_xyxy
    assert tracker.idle
    assert tracker.wants(before)
    tracker.refuse(before)
    tracker.update([])
    assert not tracker.idle
    tracker.move(PAN)
    assert not tracker.wants(after)
    assert tracker.wants(before)
    tracker.update([])
    tracker.move(PAN)
    assert tracker.wants(sign(170, 90).box_xyxy, doubtful=True)  # the frame before had one there, seen in this one's pixels


def test_a_turned_and_enlarged_picture_takes_tracks_along(tracker):
    turn = Similarity.turned(90, (200, 200)).then(Similarity(1.1))
    for _ in range(K):
        tracker.update([sign(300, 180)])
    tracker.move(turn)
    tracker.update([])
    (track,) = tracker.tracks
    assert track.box_xyxy == pytest.approx(turn.upright((300, 180, 340, 220)))
    assert track.box_xyxy[2] - track.box_xyxy[0] == pytest.approx(44)


def test_corners_are_handed_on(tracker):
    corners = ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0))
    reports = [r for place in range(K) for r in tracker.update([replace(sign(100 + place), quad_xy=corners)])] + tracker.finish()
    assert [(report.event, report.quad_xy) for report in reports] == [("sighting", corners), ("gone", corners)]


def test_signs_that_cross_keep_their_tracks(tracker):
    frames = [[sign(100 + 6 * i, 100, class_id=1), sign(400 - 6 * i, 112, class_id=2)] for i in range(50)]
    reports = feed(tracker, frames)
    assert sorted(report[1:] for report in reports) == [("sighting", 1, 1), ("sighting", 2, 2)]
    ends = {track.track: track.box_xyxy[0] for track in tracker.tracks}
    assert ends[next(r[2] for r in reports if r[3] == 1)] == 100 + 6 * 49


def test_signs_side_by_side_are_two(tracker):
    assert len(feed(tracker, [[sign(100), sign(142)]] * 10)) == 2


def test_one_sign_that_is_detected_twice_is_one(tracker):
    inner = Detection((110, 108, 134, 132), 1, 0.8)
    assert feed(tracker, [[sign(), inner] if i % 2 else [inner, sign()] for i in range(20)]) == [(K - 1, "sighting", 1, 1)]


def test_the_order_of_detections_does_not_matter():
    frames = [[sign(100 + i), sign(200 - i, 160, class_id=2), sign(320, 20 + 2 * i, 30, class_id=3)] for i in range(20)]
    one, other = Tracker(SETTINGS), Tracker(SETTINGS)
    said = sorted((r[0], r[1], r[3]) for r in feed(one, frames))
    assert said == sorted((r[0], r[1], r[3]) for r in feed(other, [frame[::-1] for frame in frames]))


def test_tracks_are_the_announced_ones_that_are_in_sight(tracker):
    for i in range(K):
        assert tracker.tracks == ()
        tracker.update([sign(100 + i)])
    (track,) = tracker.tracks
    assert (track.track, track.class_id, track.box_xyxy[0]) == (1, 1, 100 + K - 1)
    for _ in range(SETTINGS.max_age):
        tracker.update([])
    assert tracker.tracks == ()


def test_a_sign_too_small_to_be_read_waits_until_it_is_large_enough():
    tracker = Tracker(TrackerSettings(entry_votes=3, entry_side_px=19.5))
    frames = [[sign(100 - side / 2, 100 - side / 2, side)] for side in range(12, 30)]
    assert feed(tracker, frames) == [(8, "sighting", 1, 1)]


def test_the_core_of_a_sign_gives_way_to_the_whole_of_it():
    whole, core = sign(100, 100, 40, confidence=0.8), sign(110, 110, 20, confidence=0.95)
    assert distinct([core, whole]) == [whole]
    other = sign(110, 110, 20, class_id=2, confidence=0.95)
    assert distinct([other, whole]) == [other]


@pytest.mark.parametrize("detections", [[], [sign()], [sign(), sign(200)]])
def test_what_is_apart_stays_distinct(detections):
    assert distinct(detections) == detections


def test_of_nested_boxes_the_surer_stays():
    inner = Detection((110, 110, 130, 130), 2, 0.95)
    assert distinct([sign(), inner, sign(300)]) == [inner, sign(300)]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_seen_each_track_is_announced_before_it_is_gone_and_both_once(seed):
    rng = random.Random(seed)
    tracker, said = Tracker(TrackerSettings(entry_frames=60)), []
    for _ in range(300):
        count = rng.choice([0, 0, 1, 2, 5])
        detections = [sign(rng.uniform(-20, 200), rng.uniform(-20, 90), rng.uniform(0, 60), rng.randrange(3), rng.random()) for _ in range(count)]
        said += tracker.update(detections)
    said += tracker.finish()
    by_track = {}
    for report in said:
        assert 0 <= report.confidence <= 1
        by_track.setdefault(report.track, []).append(report.event)
    assert by_track
    for events in by_track.values():
        assert (events[0], events[-1]) == ("sighting", "gone")
        assert set(events[1:-1]) <= {"update"}


def known(tracker, **where):
    return tracker.known(sign(**where).box_xyxy)


def test_an_announced_sign_is_named_again_only_now_and_then(tracker):
    asked = []
    for index in range(30):
        name = known(tracker, x=100 + 2 * index)
        asked += [index] * (name is None)
        tracker.update([name or sign(100 + 2 * index)])
    assert asked == [*range(K), *range(K + SETTINGS.ask_every - 1, 30, SETTINGS.ask_every)]
    assert [(track.class_id, track.box_xyxy[0]) for track in tracker.tracks] == [(1, 158)]


def test_what_is_clearly_no_sign_is_looked_at_again_only_now_and_then_wherever_the_picture_moves_it(tracker):
    asked = []
    for index in range(12):
        box = sign(100 + 6 * index).box_xyxy
        if tracker.wants(box):
            asked.append(index)
            tracker.refuse(box)
        assert tracker.wants(sign(300).box_xyxy)
        tracker.update([])
    assert asked == [0, 4]


def test_what_is_no_sign_time_and_again_is_left_alone_for_longer_and_longer(tracker):
    asked = []
    for index in range(80):
        if tracker.wants(sign(100).box_xyxy):
            asked.append(index)
            tracker.refuse(sign(100).box_xyxy)
        tracker.update([])
    assert asked == [0, 4, 12, 28, 44, 60, 76]


def test_a_place_that_was_no_sign_once_is_a_new_one_some_frames_later(tracker):
    box = sign(100).box_xyxy
    for index in range(20):
        if index in (0, 8):
            assert tracker.wants(box)
            tracker.refuse(box)
        tracker.update([])
        if index == 12:
            assert tracker.wants(box)


def test_a_doubtful_box_is_named_once_the_frame_before_had_one_there_too(tracker):
    assert not tracker.wants(sign(100).box_xyxy, doubtful=True)
    assert tracker.wants(sign(300).box_xyxy)
    tracker.update([])
    assert tracker.wants(sign(130).box_xyxy, doubtful=True)  # moved by most of its side
    assert not tracker.wants(sign(200).box_xyxy, doubtful=True)
    assert tracker.wants(sign(300).box_xyxy, doubtful=True)
    tracker.update([])
    tracker.update([])
    assert not tracker.wants(sign(130).box_xyxy, doubtful=True)


def test_a_sign_that_is_followed_is_not_passed_over_for_one_bad_frame(tracker):
    tracker.update([sign(100)])
    tracker.refuse(sign(100).box_xyxy)
    assert tracker.wants(sign(100).box_xyxy)


def test_a_name_stands_only_where_its_sign_should_be(tracker):
    for _ in range(K):
        assert known(tracker, x=100) is None
        tracker.update([sign(100)])
    found = known(tracker, x=104)
    assert (found.box_xyxy, found.class_id, found.confidence, found.fresh) == ((104, 100, 144, 140), 1, 0.9, False)
    assert known(tracker, x=125) is None


def test_a_vote_that_differs_has_every_frame_named_until_all_agree(tracker):
    for _ in range(12):
        tracker.update([known(tracker) or sign()])
    while known(tracker):
        tracker.update([known(tracker)])
    tracker.update([sign(class_id=2)])
    for _ in range(SETTINGS.window - 1):
        assert known(tracker) is None
        tracker.update([sign()])
    assert known(tracker) is None
    tracker.update([sign()])
    assert known(tracker)


def test_what_is_not_named_does_not_vote_and_opens_no_track(tracker):
    for _ in range(20):
        tracker.update([replace(sign(), fresh=False)])
    assert tracker.tracks == ()
    reports = feed(tracker, [[sign()]] * K + [[replace(sign(120 - side / 2, 120 - side / 2, side), fresh=False)] for side in (60, 85)])
    assert [event for _, event, *_ in reports] == ["sighting", "update"]


def test_a_sign_that_is_named_now_and_then_is_still_known_better(tracker):
    reports = []
    for index in range(60):
        here = {"side": 20 + 2 * index}
        reports += tracker.update([known(tracker, **here) or sign(**here)])
    assert [report.event for report in reports] == ["sighting", "update", "update"]
    assert reports[1].box_xyxy[2] - reports[1].box_xyxy[0] >= 2 * (reports[0].box_xyxy[2] - reports[0].box_xyxy[0])
