"""Data sets, pictures and flights: whatever stands in a file, it is read or refused in one line, and no header makes us take memory for more than we allow."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import mutated, refused_in_one_line

from edge.datasets.gtsdb import read_frames, split_by_group
from edge.datasets.gtsrb_layouts import read_photo, read_train
from edge.errors import DataError, InputError, SignwingError
from edge.images import decode_image
from edge.outside.picture_size import MOST_PIXELS, size_of
from edge.vehicle.pose_files import read_poses

ODD = ["", " ", "1e3", "9" * 20, "9" * 5000, "\u0661", "\0", "x" * 300, "²"]
FIELDS = st.sampled_from(["0", "1", "42", "43", "-1", "00001.png", "00002.ppm", "a/00001.png", "../x.png", *ODD])
ROWS = st.lists(st.lists(FIELDS | st.text(max_size=8), max_size=9).map(",".join) | st.text(max_size=20), max_size=6)


def with_pictures(folder: Path) -> Path:
    for name in ("00001.png", "00002.ppm", "².png"):
        if not (folder / name).exists():
            cv2.imwrite(str(folder / "x.png"), np.zeros((8, 8, 3), np.uint8))
            (folder / "x.png").rename(folder / name)
    return folder


@given(rows=ROWS, separator=st.sampled_from([",", ";", "\t"]))
@example(rows=["00001.png,1,2,3,4,5"], separator=";")
@example(rows=["00001.png,1,2,3,4," + "9" * 400], separator=";")
def test_any_list_of_road_frames_is_read_or_refused(tmp_path: Path, rows: list[str], separator: str) -> None:
    (with_pictures(tmp_path) / "gt.txt").write_text("\n".join(rows).replace(",", separator), encoding="utf-8")
    with refused_in_one_line(DataError):
        split_by_group(read_frames(tmp_path))


@given(content=st.binary(max_size=60))
def test_any_bytes_as_a_list_of_road_frames_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (with_pictures(tmp_path) / "gt.txt").write_bytes(content)
    with refused_in_one_line(DataError):
        read_frames(tmp_path)


HEADS = ["ClassId,Path", "Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path", "ClassId,ClassId,Path,Path", ""]


@given(head=st.sampled_from(HEADS), rows=ROWS)
@example(head=HEADS[0], rows=["1,00001.png", "2,\0", "3," + "x" * 300])
@example(head=HEADS[1], rows=["8,8,1,1,7,7,3,00001.png"])
def test_any_table_of_photos_is_read_or_refused(tmp_path: Path, head: str, rows: list[str]) -> None:
    (with_pictures(tmp_path) / "Train.csv").write_text("\n".join([head, *rows]), encoding="utf-8", errors="replace")
    with refused_in_one_line(DataError, InputError):
        for photo in read_train(tmp_path):
            read_photo(photo)


POSES = {
    ".csv": [b"time,roll,pitch,yaw\n0,1,2,3\n0.5,2,,\n", b"time;roll\n2026-05-31T12:00:00Z;3\n"],
    ".srt": [b"1\n00:00:00,000 --> 00:00:00,033\n[gb_yaw: 1.0 gb_pitch: 2.0 gb_roll: 3.0]\n"],
}


@given(suffix=st.sampled_from(sorted(POSES)), data=st.data())
def test_any_record_of_a_flight_is_read_or_refused(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    path = tmp_path / f"flight{suffix}"
    path.write_bytes(data.draw(mutated(*POSES[suffix]) | st.binary(max_size=80)))
    with refused_in_one_line(SignwingError):
        read_poses(path)


PICTURE = np.random.default_rng(0).integers(0, 255, (13, 21, 3)).astype(np.uint8)
PICTURES = {suffix: cv2.imencode(suffix, PICTURE)[1].tobytes() for suffix in (".png", ".jpg", ".bmp", ".webp", ".ppm", ".tiff")}


def test_the_header_of_each_kind_tells_the_size() -> None:
    assert {suffix: size_of(content) for suffix, content in PICTURES.items()} == dict.fromkeys(PICTURES, (21, 13))


@given(mutated(*PICTURES.values()) | st.binary(max_size=60))
def test_any_picture_is_decoded_or_refused(content: bytes) -> None:
    size_of(content)
    with refused_in_one_line(InputError):
        image = decode_image(np.frombuffer(content, np.uint8), "x")
        assert image.shape[0] * image.shape[1] <= MOST_PIXELS
