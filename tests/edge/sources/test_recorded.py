"""Sources: order, counts, what is passed over and what is refused; real files and real damage."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from media import damage, index_of, picture, write_image, write_video

from edge.drawn.drone.flight import DroneFlight
from edge.errors import InputError, SourceError
from edge.frame import Frame
from edge.sources.mailbox import Mailbox
from edge.sources.open import open_source
from edge.sources.realtime import Realtime
from edge.sources.video import count_frames


def read(uri: str) -> tuple[list[Frame], int]:
    with open_source(uri) as source:
        return list(source), source.unreadable


def test_a_folder_is_stills_in_the_order_that_people_count_in(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "b/1.png", "1.png"):
        write_image(tmp_path / name, picture(0))
    (tmp_path / "notes.txt").write_text("no image")
    with open_source(str(tmp_path)) as source:
        assert (source.stills, source.fps, source.uri) == (True, None, str(tmp_path))
        frames = list(source)
    assert [frame.still for frame in frames] == ["1.png", "2.png", "10.png", "b/1.png"]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3), (30, 40, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_alpha_and_16_bit_images_become_bgr(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    value = 128 if dtype is np.uint8 else 128 * 257
    write_image(tmp_path / "x.png", np.full(shape, value, dtype))
    (frame,), _ = read(str(tmp_path / "x.png"))
    assert (frame.image.shape, frame.image.dtype, frame.still) == ((30, 40, 3), np.uint8, "x.png")
    assert abs(int(frame.image.mean()) - 128) <= 1


def test_an_unreadable_image_is_counted_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("1.png", "2.png", "3.png"):
        write_image(tmp_path / name, picture(1))
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:100])
    frames, unreadable = read(str(tmp_path))
    assert [(frame.index, frame.still) for frame in frames] == [(0, "1.png"), (2, "3.png")]
    assert unreadable == 1
    assert [record.message.count("2.png") for record in caplog.records] == [1]


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_loses_no_frame(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"x{suffix}", 30)
    before = time.monotonic_ns()
    with open_source(str(path)) as source:
        assert (source.stills, source.fps, source.dropped) == (False, 25.0, 0)
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(30)) == [index_of(frame.image) for frame in frames]
    assert before < frames[0].received_ns <= frames[-1].received_ns <= time.monotonic_ns()
    assert {frame.still for frame in frames} == {None}
    assert source.unreadable == 0
    assert count_frames(path) == 30


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
@pytest.mark.parametrize("broken", [(0,), (15,), (3, 14, 15), (29,)])
def test_unreadable_frames_are_counted_and_the_others_keep_their_place(tmp_path: Path, suffix: str, broken: tuple[int, ...]) -> None:
    path = damage(write_video(tmp_path / f"x{suffix}", 30), broken)
    frames, unreadable = read(str(path))
    whole = [index for index in range(30) if index not in broken]
    assert [frame.index for frame in frames] == whole == [index_of(frame.image) for frame in frames]
    assert unreadable == len(broken)


def test_a_cut_off_video_tells_what_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_video(tmp_path / "x.avi", 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    frames, unreadable = read(str(path))
    assert 15 <= len(frames) < 25
    assert len(frames) + unreadable == 30
    assert len(caplog.records) == 1


def test_the_flight_is_drawn_as_it_is() -> None:
    with open_source("demo://?seed=3&frames=4&width=160&height=96&fps=12.5") as source:
        assert (source.stills, source.fps) == (False, 12.5)
        frames = list(source)
    flight = DroneFlight(3, (160, 96), 4, 12.5)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    np.testing.assert_array_equal(frames[3].image, flight.frame(3).image)
    assert [frame.pose for frame in frames] == [flight.pose(index) for index in range(4)]
    assert frames[2].pose is not None
    assert (frames[2].pose.time_s, frames[2].media_s) == (2 / 12.5, 2 / 12.5)
    with open_source("demo://?view=car&frames=1&width=160&height=96") as source:
        assert next(iter(source)).pose is None


def test_a_question_mark_may_stand_in_a_name(tmp_path: Path) -> None:
    write_image(tmp_path / "what?.png", picture(0))
    path = write_video(tmp_path / "why?.avi", 2)
    assert len(read(str(tmp_path / "what?.png"))[0]) == 1
    assert len(read(str(path))[0]) == 2
    with open_source(f"{path}?realtime=1") as source:
        assert isinstance(source, Realtime)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("{tmp}/missing", "nothing at"),
        ("{tmp}/missing.mp4", "nothing at"),
        ("{tmp}/empty", "found none"),
        ("{tmp}/text.mp4", "11 bytes"),
        ("{tmp}/nothing.avi", "0 bytes"),
        ("{tmp}/cut.mp4", "without its index"),
        ("{tmp}/x.avi?loop=1", "loop"),
        ("{tmp}/x.avi?realtime=2", "realtime"),
        ("{tmp}/x.png?realtime=1", "realtime"),
        ("{tmp}?realtime=1", "realtime"),
        ("x" * 5000, "nothing at"),
        ("a\0b", "nothing at"),
        ("http://example.org/x.mp4", "download it first"),
        ("ftp://example.org/x.mp4", "unknown"),
        ("csi://front", "number of a CSI camera"),
        ("v4l2://0", "v4l2:///dev/video0"),
        ("v4l2:///dev/video0?width=0", "width"),
        ("rtp://@", "HOST:PORT"),
        ("rtp://@:70000", "HOST:PORT"),
        ("rtp://@:5600?codec=vp9", "codec"),
        ("rtp://@:5600?forward=here", "HOST:PORT"),
        ("rtp://@:5600?width=640", "width"),
        ("rtsp://host/stream?flip=90", "flip"),
        ("rtsp://host/stream?backend=vlc", "backend"),
        ("demo://?frames=abc", "frames"),
        ("demo://?frames=0", "frames"),
        ("demo://?frames=-3", "frames"),
        ("demo://?frames=", "frames"),
        ("demo://?seed=1&seed=2", "twice"),
        ("demo://?fps=nan", "fps"),
        ("demo://?fps=0", "fps"),
        ("demo://?width=99999", "width"),
        ("demo://?speed=1", "speed"),
        ("demo://road", "road"),
    ],
)
def test_what_cannot_be_a_source_is_refused_in_one_line(tmp_path: Path, uri: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "nothing.avi").touch()
    write_video(tmp_path / "x.avi", 2)
    write_image(tmp_path / "x.png", picture(0))
    cut = write_video(tmp_path / "cut.mp4", 20)
    cut.write_bytes(cut.read_bytes()[:-600])
    with pytest.raises(SourceError, match=told) as refusal:
        open_source(uri.replace("{tmp}", str(tmp_path)))
    assert "\n" not in str(refusal.value)


def test_a_flight_too_small_to_be_drawn_is_refused() -> None:
    with pytest.raises(InputError):
        open_source("demo://?width=10&height=10")


def test_in_real_time_frames_come_when_they_are_due_and_none_is_lost_without_being_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.avi", 20, fps=40.0)
    seen = []
    started = time.monotonic()
    with open_source(f"{path}?realtime=1") as source:
        assert isinstance(source, Realtime)
        for frame in source:
            seen.append(frame)
            time.sleep(0.08)
    assert 19 / 40 <= time.monotonic() - started < 3
    assert source.captured == 20 == len(seen) + source.dropped
    assert source.dropped > 5
    assert [frame.index for frame in seen] == sorted({frame.index for frame in seen})
    # The last frame is never lost: nothing newer comes.
    assert seen[-1].index == 19


def test_leaving_in_the_middle_of_real_time_ends_the_capture_and_its_counts_add_up(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.avi", 100, fps=50.0)
    with open_source(f"{path}?realtime=1") as source:
        assert isinstance(source, Realtime)
        seen = [frame for frame, _ in zip(source, range(3), strict=False)]
        time.sleep(0.1)
    assert source.captured < 100
    # zip fetches a fourth frame before it notices that the range has ended.
    assert source.captured == len(seen) + 1 + source.dropped


def test_a_real_time_source_that_is_never_read_closes() -> None:
    with open_source("demo://?frames=2&width=64&height=64&realtime=1") as source:
        assert source.dropped == 0


def test_the_mailbox_gives_the_newest_frame_then_the_error() -> None:
    mailbox = Mailbox()
    frames = [Frame(index, picture(index), index, None) for index in range(3)]
    for frame in frames:
        mailbox.put(frame)
    mailbox.close(SourceError("gone"))
    assert mailbox.take() is frames[2]
    assert (mailbox.captured, mailbox.dropped) == (3, 2)
    with pytest.raises(SourceError, match="gone"):
        mailbox.take()


def test_recordings_of_a_list_come_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "day").mkdir()
    for name, frames in (("day/2.avi", 4), ("day/1.avi", 3), ("3.avi", 5)):
        write_video(tmp_path / name, frames)
    damage(tmp_path / "day/1.avi", [1])
    (tmp_path / "day/list.txt").write_text("# one after another, from where the list lies or where we are\n2.avi\n\n1.avi\n3.avi\n")
    with open_source("@day/list.txt") as source:
        frames = [frame for frame in source if isinstance(frame, Frame)]
    assert not source.stills
    assert source.fps == 25
    lost = source.unreadable
    assert len(frames) + lost == 12
    assert [frame.index for frame in frames] == [index for index in range(12) if index != 5 or not lost]
    assert [index_of(frame.image) for frame in frames][:4] == [0, 1, 2, 3]
    assert [index_of(frame.image) for frame in frames][-5:] == [0, 1, 2, 3, 4]
    times = [frame.media_s or 0.0 for frame in frames]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(11 / 25, abs=0.05)


def test_a_list_with_a_recording_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"{write_video(tmp_path / '1.avi', 3)}\n{tmp_path / '2.avi'}\n")
    with pytest.raises(SourceError, match=r"found nothing at .*2\.avi: check that line"):
        open_source(f"@{tmp_path / 'list'}")


def test_of_a_camera_the_first_line_counts_alone(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("demo://?frames=3\nwhat stands here is a note\n")
    with open_source(f"@{tmp_path / 'list'}") as source:
        assert source.uri == "demo://?frames=3"
