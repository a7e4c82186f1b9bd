"""One drawn flight in every kind of file that people have, codec by container by oddity: as many signs are seen in each as in the pictures themselves."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.api.recognizer import Recognizer
from edge.drawn.signs import draw_sign
from edge.frame import Frame
from edge.sources.decoding import pyav
from edge.sources.open import open_source

pytestmark = [
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg makes the files"),
    pytest.mark.skipif(not pyav.is_here(), reason="needs the video extra"),
]
SIZE_WH, FRAMES, FPS = (400, 240), 18, 18
CLASSES = (14, 13, 12, 1, 17, 38, 25, 33)
SIDE_PX = 40
H264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 8"
X265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none"

# What ffmpeg makes of the pictures, by the name of the file.
KINDS = {
    "h264.mp4": H264,
    "h264 with b-frames.mkv": f"{H264} -bf 3",
    "h264.mov": H264,
    "h264.ts": H264,
    "h264.flv": H264,
    "raw.h264": H264,
    "h264 in 4:4:4, odd sides.mkv": "-c:v libx264 -preset ultrafast -pix_fmt yuv444p -vf crop=399:239",
    "h264, full range.mp4": "-c:v libx264 -preset ultrafast -pix_fmt yuvj420p",
    "h264 in fragments.mp4": f"{H264} -movflags +frag_keyframe+empty_moov",
    "h264 that begins late.ts": f"{H264} -output_ts_offset 5000",
    "h264 and sound.mp4": f"-f lavfi -i sine=d=3 {H264} -c:a aac -map 1:a -map 0:v",
    "h264, varied rate.mp4": f"-vf setpts=PTS+0.3*N*N/{FRAMES * FRAMES}/TB -vsync vfr {H264}",
    "h264, interlaced.ts": "-vf tinterlace=mode=interleave_top,setfield=tff -flags +ilme+ildct -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    "h265.mp4": f"{X265} -pix_fmt yuv420p -tag:v hvc1",
    "h265 of 10 bit.mkv": f"{X265} -pix_fmt yuv420p10le",
    "raw.h265": f"{X265} -pix_fmt yuv420p",
    "av1.mp4": "-c:v libsvtav1 -preset 12",
    "av1 of 10 bit.webm": "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p10le",
    "vp8.webm": "-c:v libvpx -deadline realtime -b:v 3M",
    "vp9.webm": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 3M",
    "vp9 with alpha.webm": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 3M -pix_fmt yuva420p",
    "mpeg4.avi": "-c:v mpeg4 -q:v 3 -bf 2",
    "mpeg4, odd sides.avi": "-c:v mpeg4 -q:v 3 -vf crop=399:239",
    "mjpeg.avi": "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p",
    "mjpeg.mov": "-c:v mjpeg -q:v 3 -pix_fmt yuvj422p",
    "prores.mov": "-c:v prores",
    "prores with alpha.mov": "-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le",
    "dnxhr.mov": "-c:v dnxhd -profile:v dnxhr_sq -pix_fmt yuv422p",
    "ffv1.mkv": "-c:v ffv1",
    "uncompressed.avi": "-c:v rawvideo -pix_fmt bgr24",
    "animation.mov": "-c:v qtrle",
    "mpeg2.ts": "-c:v mpeg2video -q:v 3",
    "mpeg2.mpg": "-c:v mpeg2video -q:v 3",
    "windows.wmv": "-c:v wmv2 -q:v 3",
    "theora.ogv": "-c:v libtheora -q:v 8",
    "many.gif": "-r 25 -vf split[a][b];[a]palettegen[p];[b][p]paletteuse",
    "many.apng": "-f apng -plays 1",
}


def ffmpeg(*words: str | Path) -> Path:
    """Run ffmpeg; a word with blanks is several, a path is one."""
    told = [part for word in words[:-1] for part in (word.split() if isinstance(word, str) else [str(word)])]
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", *told, words[-1]], capture_output=True, text=True, check=False)
    if done.returncode and "nknown encoder" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return Path(words[-1])


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of a camera that pans over eight signs, in a folder."""
    folder, (width, height) = tmp_path_factory.mktemp("flight"), SIZE_WH
    noise = np.random.default_rng(5).normal(0, 12, (height // 4, (width + 2 * FRAMES) // 4 + 1, 3))
    ground = cv2.resize(np.clip(np.array([85, 120, 105]) + noise, 0, 255).astype(np.uint8), (width + 2 * FRAMES, height), interpolation=cv2.INTER_CUBIC)
    for place, class_id in enumerate(CLASSES):
        x, y = 60 + 84 * (place % 4), 40 + 100 * (place // 4)
        sign = draw_sign(class_id, SIDE_PX).astype(float)
        under = ground[y : y + SIDE_PX, x : x + SIDE_PX]
        under[:] = sign[:, :, :3] * (sign[:, :, 3:] / 255) + under * (1 - sign[:, :, 3:] / 255)
    for index in range(FRAMES):
        assert cv2.imwrite(str(folder / f"{index:04d}.png"), ground[:, 2 * index : 2 * index + width])
    return folder


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    with Recognizer(spotter="colour") as opened:
        yield opened


def seen_in(recognizer: Recognizer, source: str | Path) -> tuple[int, int]:
    """The frames that are read, and the signs that are announced."""
    with open_source(str(source)) as opened:
        summary = recognizer.run(opened, [])
    assert summary.unreadable == 0
    return summary.frames, summary.sightings


@pytest.fixture(scope="module")
def truth(recognizer: Recognizer, flight: Path) -> int:
    frames, sightings = seen_in(recognizer, f"{flight}/%04d.png")
    assert (frames, sightings) == (FRAMES, len(CLASSES))
    return sightings


def made(flight: Path, folder: Path, name: str, how: str) -> Path:
    return ffmpeg(f"-framerate {FPS} -i", flight / "%04d.png", how, folder / name)


@pytest.mark.parametrize("name", KINDS)
def test_as_many_signs_are_seen_in_every_kind_of_file(tmp_path: Path, flight: Path, recognizer: Recognizer, truth: int, name: str) -> None:
    frames, sightings = seen_in(recognizer, made(flight, tmp_path, name, KINDS[name]))
    assert abs(frames - (FRAMES // 2 if "interlaced" in name else FRAMES)) <= (1 if "gif" in name else 0)
    assert abs(sightings - truth) <= 1


def rotated(flight: Path, folder: Path) -> Path:
    lying = made(flight, folder, "lying.mp4", f"-vf transpose=2 {H264}")
    return ffmpeg("-i", lying, "-c copy -metadata:s:v rotate=270", folder / "rotated.mp4")


def cut(flight: Path, folder: Path) -> Path:
    doubled = ffmpeg(f"-stream_loop 1 -framerate {FPS} -i", flight / "%04d.png", H264.replace("-g 8", "-g 32"), folder / "doubled.mp4")
    return ffmpeg("-ss 1 -i", doubled, "-c copy", folder / "cut.mp4")


def sizes_changed(flight: Path, folder: Path) -> Path:
    first = ffmpeg(f"-f lavfi -i color=gray:s=180x320:r={FPS}:d=1", H264, folder / "first.ts")
    (folder / "sizes.ts").write_bytes(first.read_bytes() + made(flight, folder, "second.ts", H264).read_bytes())
    return folder / "sizes.ts"


def false_duration(flight: Path, folder: Path) -> Path:
    path = made(flight, folder, "false.mkv", H264)
    blob = path.read_bytes()
    at = blob.index(b"\x44\x89\x88") + 3
    path.write_bytes(blob[:at] + struct.pack(">d", 1e15) + blob[at + 8 :])
    return path


def covered(flight: Path, folder: Path) -> Path:
    film = made(flight, folder, "film.mp4", H264)
    return ffmpeg("-i", flight / "0000.png", "-i", film, "-map 0 -map 1 -c:v:0 mjpeg -c:v:1 copy -disposition:v:0 attached_pic", folder / "covered.mp4")


def misnamed(flight: Path, folder: Path) -> Path:
    return made(flight, folder, "right.mkv", H264).rename(folder / "wrong.avi")


ODDITIES = {rotated: FRAMES, cut: FRAMES, sizes_changed: 2 * FRAMES, false_duration: FRAMES, covered: FRAMES, misnamed: FRAMES}


@pytest.mark.parametrize("odd", ODDITIES, ids=lambda odd: odd.__name__)
def test_as_many_signs_are_seen_in_odd_files(tmp_path: Path, flight: Path, recognizer: Recognizer, truth: int, odd: object) -> None:
    assert callable(odd)
    frames, sightings = seen_in(recognizer, odd(flight, tmp_path))
    assert frames == ODDITIES[odd]
    assert abs(sightings - truth) <= 1


def test_pictures_in_a_folder_are_the_same_film(flight: Path, recognizer: Recognizer, truth: int) -> None:
    assert seen_in(recognizer, f"{flight}/*.png?fps=10") == (FRAMES, truth)
    with open_source(f"{flight}?fps={FPS}") as opened:
        times = [came.media_s for came in opened if isinstance(came, Frame)]
    assert times == pytest.approx([index / FPS for index in range(FRAMES)])
