"""Faces of own signs on their way into a bundle, and from one bundle into another."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the export extra: onnx makes the tiny bundle")

from commands import done, refused
from foreign_bundle import narrowed
from foreign_signs import NAMES, face, on_grey

from edge.bundle.manifest import SHIPPED, Bundle, read_bundle, write_manifest
from edge.datasets.classes import GTSRB, drawn_classes_of
from edge.datasets.faces import FACE_PX, PACKED, face_file
from edge.drawn.signs import draw_sign
from export.faces import carry_faces
from export.folder import replacing


@pytest.fixture
def own(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    return read_bundle(narrowed(tiny_bundle, tmp_path / "own"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What tells of a data set that was prepared with faces."""
    (tmp_path / "data" / "faces").mkdir(parents=True)
    for class_id in range(len(NAMES)):
        cv2.imwrite(str(tmp_path / "data" / face_file(class_id)), face(class_id))
    return tell(tmp_path / "data", NAMES)


def tell(folder: Path, names: tuple[str, ...]) -> Path:
    rows = [f"{class_id},{name}" for class_id, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["ClassId,Name", *rows]) + "\n", encoding="utf-8")
    return folder


def test_the_data_sets_faces_travel_and_are_verified(own: Bundle, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert own.manifest.faces is None
    assert drawn_classes_of(own).drawn == 0
    carried = carry_faces(own, data)
    write_manifest(own.folder, carried.manifest)
    bundle = read_bundle(own.folder)
    assert bundle.manifest == carried.manifest
    classes = drawn_classes_of(bundle)
    assert (classes.names, classes.drawn) == (NAMES, len(NAMES))
    for class_id, drawn in enumerate(classes.faces):
        assert np.abs(on_grey(draw_sign(drawn, FACE_PX)) - on_grey(face(class_id))).mean() < 2
    done("check", own.folder)
    assert f"own-12, {len(bundle.manifest.models) + 2} files are as they were exported" in capsys.readouterr().out
    content = (own.folder / PACKED).read_bytes()
    (own.folder / PACKED).write_bytes(content[:-1])
    assert f"{PACKED} with sha256" in refused(capsys, "check", own.folder)
    (own.folder / PACKED).unlink()
    assert f"wanted {PACKED} in the bundle" in refused(capsys, "check", own.folder)


def test_a_bundle_of_a_bundle_keeps_them_where_its_data_have_none(own: Bundle, data: Path, tmp_path: Path) -> None:
    former = carry_faces(own, data)
    bare = tell(Path(shutil.copytree(data, tmp_path / "bare", ignore=shutil.ignore_patterns("faces"))), NAMES)
    fewer = tell(Path(shutil.copytree(bare, tmp_path / "fewer")), NAMES[:5])  # a bundle that was extended, and the data of before
    for known in (bare, fewer):
        folder = tmp_path / "again" / known.name
        folder.mkdir(parents=True)
        kept = carry_faces(Bundle(folder, own.manifest), known, former)
        assert kept.manifest.faces == former.manifest.faces
        assert (folder / PACKED).read_bytes() == (own.folder / PACKED).read_bytes()
    assert carry_faces(former, bare) == former  # as refresh does it
    assert carry_faces(own, bare) == own


def test_beside_gtsrbs_signs_those_that_were_added_travel(own: Bundle, data: Path) -> None:
    names = (*GTSRB.names, *NAMES[:2])
    for class_id in range(len(NAMES)):
        (data / face_file(class_id)).rename(data / face_file(43 + class_id))
    extended = Bundle(own.folder, replace(own.manifest, labels=names, numbers=(), sizes_mm=()))
    carried = carry_faces(extended, tell(data, names))
    classes = drawn_classes_of(carried)
    assert (classes.drawn, classes.faces[:43]) == (45, GTSRB.faces)
    assert np.abs(on_grey(draw_sign(classes.faces[44], FACE_PX)) - on_grey(face(1))).mean() < 2


def test_the_bundle_that_ships_needs_none_and_one_with_faces_may_be_replaced(own: Bundle, data: Path) -> None:
    shipped = read_bundle(SHIPPED)
    assert carry_faces(shipped, data / "nowhere") == shipped
    assert drawn_classes_of(shipped) == GTSRB
    write_manifest(own.folder, carry_faces(own, data).manifest)
    with replacing(own.folder) as folder:
        (folder / "manifest.json").write_text("{}", encoding="utf-8")
    assert [path.name for path in own.folder.iterdir()] == ["manifest.json"]
