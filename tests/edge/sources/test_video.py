"""Recordings of every kind that people have, made here by ffmpeg; each decoder reads the same pictures at the same times."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import picture, write_video

from edge.errors import SourceError
from edge.frame import Frame
from edge.sources.decoding import pyav
from edge.sources.decoding.by_opencv import OpencvDecoder
from edge.sources.decoding.contract import Decoder, Picture
from edge.sources.decoding.mp4 import is_unfinished, matrix_of
from edge.sources.decoding.orientation import turned
from edge.sources.open import open_source

pytestmark = [
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg makes the files"),
    pytest.mark.skipif(not pyav.is_here(), reason="needs the video extra"),
]
SOURCE = "-f lavfi -i testsrc2=s=96x64:r=30:d={seconds} -pix_fmt yuv420p"
H264 = "-c:v libx264 -preset ultrafast -g 30"


def by_pyav(path: Path) -> Decoder:
    from edge.sources.decoding.by_pyav import PyavDecoder

    return PyavDecoder(path)


DECODERS: list[Callable[[Path], Decoder]] = [by_pyav, OpencvDecoder]
both = pytest.mark.parametrize("open_it", DECODERS, ids=["pyav", "opencv"])


def ffmpeg(*words: str | Path) -> Path:
    made = Path(words[-1])
    told = [part for word in words[:-1] for part in (word.split() if isinstance(word, str) else [str(word)])]
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", *told, made], capture_output=True, text=True, check=False)
    if done.returncode and "nknown encoder" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of H.264, 90 frames, an intra frame each second."""
    return ffmpeg(SOURCE.format(seconds=3), H264, tmp_path_factory.mktemp("flight") / "flight.mp4")


def read(decoder: Decoder) -> tuple[list[Picture], int]:
    came = list(decoder)
    decoder.close()
    return [each for each in came if isinstance(each, Picture)], sum(each for each in came if isinstance(each, int))


def frames_of(path: Path) -> tuple[list[Frame], int]:
    with open_source(str(path)) as source:
        return [frame for frame in source if isinstance(frame, Frame)], source.unreadable


def times(pictures: list[Picture]) -> list[float]:
    return [each.media_s if each.media_s is not None else -1.0 for each in pictures]


@pytest.mark.parametrize("seek", ["1", "1.5"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@both
def test_what_was_cut_without_encoding_is_whole(tmp_path: Path, flight: Path, open_it: Callable[[Path], Decoder], suffix: str, seek: str) -> None:
    path = ffmpeg(f"-ss {seek} -i", flight, "-c copy", tmp_path / f"cut{suffix}")
    pictures, lost = read(open_it(path))
    assert lost == 0
    assert len(pictures) == (45 if seek == "1.5" and suffix in (".mp4", ".mov") else 60)  # others have no edit list: they begin at the intra frame
    assert times(pictures) == pytest.approx([place / 30 for place in range(len(pictures))], abs=0.002)


def test_a_duration_that_cannot_be_is_not_believed(tmp_path: Path, flight: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = ffmpeg("-i", flight, "-c copy", tmp_path / "whole.mkv")
    blob = path.read_bytes()
    at = blob.index(b"\x44\x89\x88") + 3  # the element Duration, a float of 8 bytes, in milliseconds
    path.write_bytes(blob[:at] + struct.pack(">d", 1e15) + blob[at + 8 :])
    frames, unreadable = frames_of(path)
    assert (len(frames), unreadable) == (90, 0)
    assert [record.message.count("may have been cut off") for record in caplog.records] == [1]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_file_that_lacks_its_end_is_told(tmp_path: Path, flight: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    path = ffmpeg("-i", flight, "-c copy -movflags +faststart" if suffix == ".mp4" else "-c copy", tmp_path / f"whole{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, unreadable = frames_of(path)
    assert 20 < len(frames) < 70
    assert (len(frames) + unreadable == 90) if suffix == ".mp4" else unreadable == 0
    assert len(caplog.records) == 1


def test_without_pyav_too_a_file_that_lacks_its_end_is_told(tmp_path: Path, flight: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = ffmpeg("-i", flight, "-c copy -movflags +faststart", tmp_path / "whole.mp4")
    for size, told in ((path.stat().st_size, 0), (path.stat().st_size // 2, 1)):
        path.write_bytes(path.read_bytes()[:size])
        pictures, _ = read(OpencvDecoder(path))
        assert pictures
        assert len(caplog.records) == told


@both
def test_times_are_those_of_the_recording(tmp_path: Path, open_it: Callable[[Path], Decoder]) -> None:
    path = ffmpeg(SOURCE.format(seconds=2), "-vf setpts=PTS+0.4*N*N/900/TB -vsync vfr", H264, tmp_path / "varied.mp4")
    pictures, _ = read(open_it(path))
    assert times(pictures) == pytest.approx([place / 30 + 0.4 * place**2 / 900 for place in range(60)], abs=0.035)
    decoder = open_it(path)
    assert decoder.fps == pytest.approx(60 / (pictures[-1].media_s or 0), rel=0.1)
    decoder.close()


def test_in_real_time_each_frame_comes_at_its_own_time(tmp_path: Path) -> None:
    path = ffmpeg("-f lavfi -i testsrc2=s=96x64:r=10:d=0.4 -vf setpts=(PTS*TB+gte(N\\,2)*0.6)/TB -vsync vfr", H264, tmp_path / "pause.mp4")
    with open_source(f"{path}?realtime=1") as source:
        frames = [frame for frame in source if isinstance(frame, Frame)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    between = np.diff([frame.received_ns for frame in frames]) / 1e9
    assert between[1] > 0.45 > 0.3 > between[2]


@pytest.mark.parametrize("matrix", ["90", "180", "270"])
@both
def test_a_phones_picture_is_turned_as_ffmpeg_turns_it(tmp_path: Path, flight: Path, open_it: Callable[[Path], Decoder], matrix: str) -> None:
    path = ffmpeg("-i", flight, f"-c copy -frames:v 2 -metadata:s:v rotate={matrix}", tmp_path / "phone.mp4")
    truth = cv2.imread(str(ffmpeg("-i", path, "-frames:v 1", tmp_path / "truth.png")))
    assert truth is not None
    pictures, _ = read(open_it(path))
    assert pictures[0].image.shape == truth.shape
    assert pictures[0].image.flags.c_contiguous
    assert np.abs(pictures[0].image.astype(int) - truth).mean() < 3


def test_all_eight_ways_to_hold_a_camera() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for matrix, wanted in {
        (1, 0, 0, 1): image,
        (0, 1, -1, 0): np.rot90(image, -1),
        (-1, 0, 0, -1): np.rot90(image, 2),
        (0, -1, 1, 0): np.rot90(image),
        (-1, 0, 0, 1): image[:, ::-1],
        (1, 0, 0, -1): image[::-1],
        (0, 1, 1, 0): np.swapaxes(image, 0, 1),
        (0, -1, -1, 0): np.swapaxes(image[::-1, ::-1], 0, 1),
    }.items():
        np.testing.assert_array_equal(turned(image, matrix), wanted)


def test_what_is_no_mp4_is_upright_and_not_unfinished(tmp_path: Path) -> None:
    for content in (b"", b"ftyp", b"\0\0\0\x01moov" + b"\xff" * 8, b"\0\0\0\x10moov\0\0\0\x08trak", b"\0\0\0\0moov" + b"\0" * 50, bytes(range(256)) * 9):
        (tmp_path / "odd").write_bytes(content)
        assert matrix_of(tmp_path / "odd") == (1, 0, 0, 1)
        assert not is_unfinished(tmp_path / "odd")


def test_interlaced_frames_lose_their_comb(tmp_path: Path) -> None:
    moving = "-f lavfi -i color=black:s=128x96:r=50:d=1,format=yuv420p[a];color=white:s=16x60:r=50:d=1[b];[a][b]overlay=x=80*t:y=18"
    path = ffmpeg(moving, "-vf tinterlace=mode=interleave_top,setfield=tff -flags +ilme+ildct", H264, tmp_path / "grabbed.mp4")
    frames, unreadable = frames_of(path)
    assert (len(frames), unreadable) == (25, 0)
    assert [frame.media_s for frame in frames] == pytest.approx([place / 25 for place in range(25)], abs=0.002)
    image = frames[12].image[30:66, :, 0].astype(int)
    assert np.abs(image[1:-1] - (image[:-2] + image[2:]) / 2).max() < 60  # a comb is 128 and more


def test_sizes_pass_through_and_a_clock_that_begins_anew_goes_on(tmp_path: Path) -> None:
    parts = [ffmpeg(f"-f lavfi -i testsrc2=s={size}:r=30:d=0.5", H264, tmp_path / f"{size}.ts") for size in ("96x64", "192x128")]
    (tmp_path / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, _ = frames_of(tmp_path / "joined.ts")
    assert [frame.image.shape[:2] for frame in frames] == [(64, 96)] * 15 + [(128, 192)] * 15
    assert [frame.media_s for frame in frames] == pytest.approx([place / 30 for place in range(30)], abs=0.002)


KINDS = {
    "av1.mp4": "-c:v libsvtav1 -preset 12",
    "ten bit.mkv": "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p10le",
    "vp9.webm": "-c:v libvpx-vp9 -deadline realtime",
    "prores.mov": "-c:v prores",
    "mpeg2.ts": "-c:v mpeg2video",
    "raw.h264": H264,
    "old.avi": "-c:v mpeg4 -bf 2",
    "many.gif": "",
    "quarter.3gp": "-c:v h263 -s 176x144 -r 30",
}


@pytest.mark.parametrize("name", KINDS)
def test_every_codec_is_read_whole(tmp_path: Path, name: str) -> None:
    path = ffmpeg(SOURCE.format(seconds=0.4).replace("yuv420p", "").replace("-pix_fmt", ""), KINDS[name] or "-r 25", tmp_path / name)
    frames, unreadable = frames_of(path)
    assert len(frames) in ((12,) if KINDS[name] else (9, 10, 11))
    assert unreadable == 0
    assert (np.diff([frame.media_s or 0.0 for frame in frames]) > 0).all()


@pytest.mark.parametrize("name", ["one.tiff", "one.jp2", "one.gif", "one.avif", "one.mp4", "one.heic", "one"])
def test_a_video_of_one_frame_is_a_still(tmp_path: Path, name: str) -> None:
    codec = {"one.avif": "-c:v libaom-av1 -still-picture 1", "one.heic": f"{H264} -f mp4", "one": "-c:v mjpeg -f image2"}.get(name, "")
    path = ffmpeg("-f lavfi -i testsrc2=s=96x64:r=30:d=1 -frames:v 1", codec, tmp_path / name)
    with open_source(str(path)) as source:
        frames = [frame for frame in source if isinstance(frame, Frame)]
    assert source.stills
    assert [(frame.still, frame.image.shape, frame.media_s) for frame in frames] == [(name, (64, 96, 3), None)]


def test_what_cannot_be_read_is_named_with_what_converts_it(tmp_path: Path, flight: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(SourceError) as refused:
            open_source(str(path))
        assert "\n" not in str(refused.value)
        return str(refused.value)

    sound = ffmpeg("-f lavfi -i sine -t 0.2", tmp_path / "sound.mp4")
    assert "sound alone (aac)" in refusal(sound)
    (tmp_path / "unfinished.mp4").write_bytes(flight.read_bytes()[:5000])
    assert "without its index (moov)" in refusal(tmp_path / "unfinished.mp4")
    blob = flight.read_bytes().replace(b"avc1", b"drmi")
    (tmp_path / "locked.mp4").write_bytes(blob)
    assert "ffmpeg -i" in refusal(tmp_path / "locked.mp4")


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "cover.jpg"), picture(0))
    song = ffmpeg("-f lavfi -i sine -i", tmp_path / "cover.jpg", "-map 0 -map 1 -t 0.2 -c:v copy -disposition:v attached_pic", tmp_path / "song.m4a")
    with pytest.raises(SourceError, match="sound alone"):
        open_source(str(song))


@pytest.fixture(scope="module")
def av1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ffmpeg(SOURCE.format(seconds=0.2), KINDS["av1.mp4"], tmp_path_factory.mktemp("av1") / "av1.mp4")


def test_without_pyav_a_codec_that_opencv_lacks_is_named(av1: Path) -> None:
    decoder = OpencvDecoder(av1)
    what = decoder.what
    pictures, _ = read(decoder)
    assert what == "AV01" or pictures  # an OpenCV that can decode it is as good


def test_both_decoders_give_the_same_pictures(tmp_path: Path, flight: Path) -> None:
    for path in (flight, write_video(tmp_path / "x.avi", 12)):
        theirs, ours = (read(open_it(path))[0] for open_it in DECODERS)
        assert len(theirs) == len(ours)
        assert max(np.abs(a.image.astype(int) - b.image).max() for a, b in zip(theirs, ours, strict=True)) <= 2
