"""H.264 by PyAV: what browsers play, whole or not at all; without PyAV OpenCV's encoder takes its place."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs the video extra")

from edge.frame import Frame  # noqa: E402
from edge.outputs import video  # noqa: E402
from edge.outputs.h264 import H264Writer  # noqa: E402
from edge.outputs.video import VideoSink  # noqa: E402
from edge.result import Result  # noqa: E402


def picture(size_wh: tuple[int, int], place: int = 0) -> np.ndarray:
    image = np.full((size_wh[1], size_wh[0], 3), (40, 90, 160), np.uint8)
    cv2.circle(image, (20 + place, size_wh[1] // 2), 9, (250, 250, 250), -1)
    return image


def codec_of(path: Path) -> tuple[str, str]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context.name, stream.pix_fmt


@pytest.mark.parametrize("size_wh", [(96, 64), (97, 63)])
@pytest.mark.parametrize("fps", [30.0, 29.97, 1.0])
def test_every_frame_is_there_as_browsers_want_it(tmp_path: Path, size_wh: tuple[int, int], fps: float) -> None:
    path = tmp_path / "x.mp4"
    writer = H264Writer(path, fps, size_wh)
    for place in range(12):
        writer.write(picture(size_wh, place))
    writer.release()
    assert codec_of(path) == ("h264", "yuv420p")
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        assert float(container.streams.video[0].average_rate) == pytest.approx(fps, rel=0.01)
    assert len(frames) == 12
    for place, frame in enumerate(frames):
        assert np.abs(frame[: size_wh[1], : size_wh[0]].astype(int) - picture(size_wh, place)).mean() < 6


def test_the_index_stands_in_front_so_that_a_page_can_play_while_it_loads(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    writer = H264Writer(path, 25.0, (96, 64))
    writer.write(picture((96, 64)))
    writer.release()
    blob = path.read_bytes()
    assert 0 < blob.index(b"moov") < blob.index(b"mdat")


@pytest.mark.parametrize(("here", "codec"), [(True, "h264"), (False, "mpeg4")])
def test_an_mp4_is_h264_where_pyav_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool, codec: str) -> None:
    monkeypatch.setattr(video.pyav, "is_here", lambda: here)
    path = tmp_path / "seen.mp4"
    with VideoSink(path, 25.0, ("Stop",)) as sink:
        for place in range(3):
            sink.write(Result(Frame(place, picture((96, 64), place), 0, None), (), (), (), 0, False))
    assert codec_of(path)[0] == codec


def test_frames_are_shown_at_their_own_times(tmp_path: Path) -> None:
    path = tmp_path / "seen.mp4"
    told = [5.0, 5.04, 5.5, 5.5, 6.0, 6.001]
    with VideoSink(path, 25.0, ("Stop",)) as sink:
        for place, media_s in enumerate(told):
            sink.write(Result(Frame(place, picture((96, 64), place), 0, None, media_s=media_s), (), (), (), 0, False))
    with av.open(str(path)) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([at - 5.0 for at in told], abs=0.001)
