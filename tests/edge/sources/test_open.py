"""What people type as a source, and what it opens."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from media import index_of, picture, write_image, write_video

from edge.errors import SourceError
from edge.frame import Frame
from edge.sources.live.feed import LiveSource
from edge.sources.open import open_source
from edge.sources.realtime import Realtime


def read(uri: str) -> list[Frame]:
    with open_source(uri) as source:
        return [frame for frame in source if isinstance(frame, Frame)]


def camera(uri: str) -> str:
    source = open_source(uri)
    assert isinstance(source, LiveSource)
    return source.uri


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    for number in (8, 9, 10, 11):
        write_image(tmp_path / "fr" / f"{number:04}.png", picture(number))
    write_image(tmp_path / "fr" / "cover.png", picture(0))
    return tmp_path / "fr"


@pytest.mark.parametrize(
    ("typed", "opened"),
    [
        ("0", "v4l2:///dev/video0"),
        ("2?width=640&height=480", "v4l2:///dev/video2?width=640&height=480"),
        ("webcam", "v4l2:///dev/video0"),
        ("Webcam?fps=30", "v4l2:///dev/video0?fps=30"),
        ("/dev/video1", "v4l2:///dev/video1"),
        ("/dev/video1?flip=180", "v4l2:///dev/video1?flip=180"),
        ("/dev/v4l/by-id/usb-Camera-video-index0", "v4l2:///dev/v4l/by-id/usb-Camera-video-index0"),
        ("V4L2:///dev/video3", "V4L2:///dev/video3"),
        ("RTSP://host/stream", "RTSP://host/stream"),
        ("rtsp://[::1]/stream", "rtsp://[::1]/stream"),
        ("rtsp://[::1]:554/stream", "rtsp://[::1]:554/stream"),
        ("rtsp://host:/stream", "rtsp://host:/stream"),
        ("rtsp://me:p#w@host/stream", "rtsp://host/stream"),
        ("udp://@:5600", "udp://@:5600"),
        ("rtmp://host/live/flight?app=a%2Bb", "rtmp://host/live/flight?app=a%2Bb"),
        ("HTTP://host/live.m3u8", "http://host/live.m3u8"),
    ],
)
def test_a_camera_by_its_usual_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, opened: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert camera(typed) == opened


def test_a_folder_that_is_called_as_a_camera_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "0" / "a.png", picture(0))
    assert [frame.still for frame in read("0")] == ["a.png"]


def test_paths_as_shells_and_browsers_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_image(tmp_path / "a photo.png", picture(3))
    write_video(tmp_path / "x.avi", 2)
    for typed in ("~/a photo.png", f"file://{tmp_path}/a%20photo.png", f"file://localhost{tmp_path}/a photo.png", f"FILE://{tmp_path}/a photo.png"):
        assert [index_of(frame.image) for frame in read(typed)] == [3]
    for typed in ("~/x.avi?realtime=1", f"file://{tmp_path}/x.avi?realtime=1"):
        with open_source(typed) as source:
            assert isinstance(source, Realtime)
    with pytest.raises(SourceError, match="nothing at"):
        open_source("~nobody of this name/x.png")


def test_a_capital_scheme_is_the_same() -> None:
    assert len(read("DEMO://?frames=2&width=160&height=96")) == 2


@pytest.mark.parametrize("typed", ["", " ", "\n"])
def test_an_empty_text_is_no_folder(typed: str) -> None:
    with pytest.raises(SourceError, match="an empty text: give a folder"):
        open_source(typed)


@pytest.mark.parametrize("pattern", ["fr/*.png", "fr/????.png", "fr/[0-9]*.png", "**/0*.png"])
def test_a_pattern_is_a_set_of_stills(tmp_path: Path, numbered: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    monkeypatch.chdir(tmp_path)
    with open_source(pattern) as source:
        frames = [frame for frame in source if isinstance(frame, Frame)]
    assert source.stills
    assert [frame.still for frame in frames][:4] == ["0008.png", "0009.png", "0010.png", "0011.png"]


@pytest.mark.parametrize(
    ("source", "fps"), [("fr/%04d.png", 25.0), ("fr/%d.png?fps=10", 10.0), ("fr/0*.png?fps=30", 30.0), ("fr?fps=30", 30.0), ("fr/????.png?fps=30", 30.0)]
)
def test_numbered_pictures_are_a_film(tmp_path: Path, numbered: Path, monkeypatch: pytest.MonkeyPatch, source: str, fps: float) -> None:
    monkeypatch.chdir(tmp_path)
    with open_source(source) as opened:
        frames = [frame for frame in opened if isinstance(frame, Frame)]
    assert (opened.stills, opened.fps) == (False, fps)
    assert [index_of(frame.image) for frame in frames][:4] == [8, 9, 10, 11]
    assert [(frame.index, frame.still, frame.media_s) for frame in frames][:4] == [(place, None, place / fps) for place in range(4)]
    with open_source(f"{source}{'&' if '?fps' in source else '?'}realtime=1") as opened:
        assert isinstance(opened, Realtime)


def test_a_pattern_of_one_file_is_that_file(tmp_path: Path) -> None:
    write_video(tmp_path / "flight 1.avi", 2)
    assert [frame.still for frame in read(f"{tmp_path}/*.avi")] == [None, None]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("{tmp}/*.png", "nothing at"),
        ("{tmp}/%04d.png", "nothing at"),
        ("{tmp}/fr/*.png?fps=0", "fps"),
        ("{tmp}/fr?speed=2", "speed"),
        ("{tmp}/fr/*.png?realtime=1", "realtime"),
        ("{tmp}/*.avi", "2 .avi"),
        ("https://host/x.mp4", "curl -LO"),
        ("tcp://host:9000", "tcp://host:9000, whose scheme is unknown"),
        ("gopher://host", "gopher://host, whose scheme is unknown"),
        ("rtsp://", "wanted a host in rtsp://, found none: write rtsp://HOST:PORT/PATH"),
        ("rtsps:///x", "wanted a host in rtsps:///x, found none"),
        ("rtsp://:554/x", "wanted a host in rtsp://:554/x, found none"),
        ("rtsp://me:secret@/x", "wanted a host in rtsp:///x, found none"),
        ("rtsp://?backend=ffmpeg", "wanted a host in rtsp://?backend=ffmpeg, found none"),
        ("http://", "wanted a host in http://, found none"),
        ("https:///x", "wanted a host in https:///x, found none"),
        ("HTTP://:8080?a/b", "wanted a host in"),
        ("rtmp://", "wanted a host in rtmp://, found none"),
        ("rtmps://:1935", "wanted a host in rtmps://:1935, found none"),
        ("udp://", "wanted a port in udp://, found none: write udp://@:5600"),
        ("udp://@", "wanted a port in udp://@, found none"),
        ("udp://@:x", "wanted a port from 1 to 65535 in udp://@:x, found another"),
        ("srt://h", "wanted a port in srt://h, found none"),
        ("rtsp://host:99999/x", "wanted a port from 1 to 65535 in rtsp://host:99999/x, found another"),
        ("http://[::1]:0/x", "wanted a port from 1 to 65535 in http://[::1]:0/x, found another"),
    ],
)
def test_what_is_not_found_is_told_with_what_does(tmp_path: Path, numbered: Path, typed: str, told: str) -> None:
    for name in ("a.avi", "b.avi"):
        write_video(tmp_path / name, 2)
    with pytest.raises(SourceError) as refused:
        open_source(typed.replace("{tmp}", str(tmp_path)))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_a_folder_leaves_out_is_counted_and_what_hides_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.tiff", "b.gif", "c.jp2", "d.JPG", "e.webp", "f.tif", "g.jpe"):
        write_image(tmp_path / name.lower(), picture(0))
        (tmp_path / name.lower()).rename(tmp_path / name)
    for name in ("x.mp4", "y.mp4", "notes.txt", "README"):
        (tmp_path / name).write_bytes(b"")
    for name in ("__MACOSX/._1.jpg", ".ipynb_checkpoints/a.png", "@eaDir/a.png", "._a.png", "sub/.hidden/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        frames = read(str(tmp_path))
    assert [frame.still for frame in frames] == ["a.tiff", "b.gif", "c.jp2", "d.JPG", "e.webp", "f.tif", "g.jpe"]
    (told,) = [record.message for record in caplog.records]
    assert "4 of the files" in told
    assert "2 .mp4" in told
    assert "1 .txt" in told
    assert "1 without a suffix" in told


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    write_image(tmp_path / ".cache" / "a.png", picture(0))
    assert len(read(str(tmp_path / ".cache"))) == 1


def test_a_picture_that_needs_converting_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "a.png", picture(0))
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic" + os.urandom(60))
    assert len(read(str(tmp_path))) == 1
    assert [("HEIC" in record.message, "heif-convert" in record.message) for record in caplog.records] == [(True, True)]
