"""Faces of one's own, as SVG and PNG: drawn as photos, pasted, and what begins a training without any photo; and folders of them with a fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("supervision", reason="needs the train extra")
pytest.importorskip("resvg_py", reason="needs the train extra")

from foreign_bundle import narrowed
from foreign_signs import NAMES, face, write_photos

from edge import cli
from edge.bundle.manifest import SHIPPED, Bundle, read_bundle, write_manifest
from edge.datasets.classes import GTSRB, read_classes
from edge.datasets.faces import PaintedFace, write_faces
from edge.drawn.signs import draw_sign, outline
from edge.errors import DataError, InputError
from export.faces import carry_faces
from train.__main__ import _parser
from train.fit import fit
from train.own.added import write_added
from train.own.prepare import Options, prepare
from train.photos.drawn import draw_photo
from train.photos.spotter_frames import _shape
from train.recipes import OWN

SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 40"><path d="M20 20 L40 2 L60 20 L40 38 Z" fill="#ff8800"/></svg>"""
COUNT = 3


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a face of each of three classes: an SVG, and PNGs with and without transparency."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / f"{NAMES[0]}.svg").write_text(SVG, encoding="utf-8")
    for class_id in (1, 2):
        image = face(class_id)
        cv2.imencode(".png", image if class_id == 1 else image[:, :, :3])[1].tofile(folder / f"{NAMES[class_id]}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, drawings: Path) -> Path:
    root = tmp_path_factory.mktemp("own")
    write_photos(root / "photos", 4, names=NAMES[:COUNT])
    assert cli.main(_parser(), ["prepare", str(root / "photos"), "--out", str(root / "data"), "--faces", str(drawings)]) == 0
    return root / "data"


def test_faces_travel_with_the_data_and_are_drawn_as_they_are(data: Path, drawings: Path) -> None:
    classes = read_classes(data)
    assert (classes.drawn, classes.official, len(classes)) == (COUNT, False, COUNT)
    by_name = dict(zip(classes.names, classes.faces, strict=True))
    diamond = by_name[NAMES[0]]
    assert isinstance(diamond, PaintedFace)
    picture = draw_sign(diamond, 64)
    np.testing.assert_array_equal(picture[32, 32], [0, 0x88, 0xFF, 255])
    assert (picture[2, 2, 3], picture[61, 61, 3]) == (0, 0)
    hull = outline(diamond)
    assert np.ptp(hull[:, 0]) == pytest.approx(1, abs=0.02)  # it was cut out, and fills its square
    assert np.ptp(hull[:, 1]) == pytest.approx(0.9, abs=0.02)
    wanted = cv2.imdecode(np.fromfile(drawings / f"{NAMES[1]}.png", np.uint8), cv2.IMREAD_UNCHANGED)
    found = draw_sign(by_name[NAMES[1]], 256)
    assert np.abs(found[64:192, 64:192].astype(int) - wanted[64:192, 64:192]).mean() < 8
    assert (draw_sign(by_name[NAMES[2]], 256)[:, :, 3] == 255).all()
    corners = _shape(classes, classes.names.index(NAMES[0]))
    assert not isinstance(corners, str)
    assert {tuple(corner) for corner in np.rint(corners).astype(int).tolist()} >= {(-1, 0), (0, -1), (1, 0), (0, 1)}
    assert _shape(GTSRB, 14) == "round"


def test_photos_are_drawn_of_them(data: Path) -> None:
    classes = read_classes(data)
    orange = classes.faces[classes.names.index(NAMES[0])]
    photos = [draw_photo(orange, np.random.default_rng(seed)) for seed in range(20)]
    middles = np.stack([photo[photo.shape[0] // 2, photo.shape[1] // 2] for photo in photos]).astype(int)
    assert ((middles[:, 2] > middles[:, 1]) & (middles[:, 1] > middles[:, 0])).mean() > 0.8
    np.testing.assert_array_equal(photos[3], draw_photo(orange, np.random.default_rng(3)))


def test_a_training_can_begin_with_drawn_photos_of_them(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small = replace(OWN, size=32, width=0.125, epochs=1, least_steps=0, drawn_steps=2, drawn_share=0.2, precision="float32", air=False)
    run = fit(data, tmp_path / "run", small, weights="drawn", resume=False)
    assert run["weights"] == "drawn"
    assert set(run["classes"]["names"]) == set(NAMES[:COUNT])
    kept = list((tmp_path / "cache").rglob("checkpoint.keras"))
    assert len(kept) == 1
    bare = tmp_path / "bare"
    write_photos(bare, 4, seed=3, names=NAMES[:COUNT])
    prepare(bare, tmp_path / "data")
    with pytest.raises(InputError, match=r"or a face of every class, found --weights drawn and 0 faces of 3 .*, or prepare the data with --faces"):
        fit(tmp_path / "data", tmp_path / "other", small, weights="drawn", resume=False)


def test_beside_a_bundles_classes_those_that_are_added_have_faces(drawings: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 4, names=NAMES[:COUNT])
    prepare(tmp_path / "photos", tmp_path / "data", Options(extend=SHIPPED, faces=drawings))
    classes = read_classes(tmp_path / "data")
    assert (classes.official, classes.drawn, classes.faces[:43]) == (True, 46, tuple(range(43)))
    assert "43 classes" not in json.loads((tmp_path / "data" / "prepared.json").read_text(encoding="utf-8"))["said"]


def test_what_an_own_bundle_carries_stays_where_it_is_extended(drawings: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    own = read_bundle(narrowed(tiny_bundle, tmp_path / "own"))
    (tmp_path / "twelve").mkdir()
    labels = [f"{class_id},{name}" for class_id, name in enumerate(NAMES)]
    (tmp_path / "twelve" / "labels.csv").write_text("\n".join(["ClassId,Name", *labels]) + "\n", encoding="utf-8")
    write_faces(tmp_path / "twelve", {class_id: cv2.imencode(".png", face(class_id))[1].tobytes() for class_id in range(len(NAMES))})
    carried = carry_faces(own, tmp_path / "twelve")
    write_manifest(own.folder, carried.manifest)
    write_photos(tmp_path / "photos", 4, names=NAMES[:COUNT])
    (tmp_path / "photos" / NAMES[0]).rename(tmp_path / "photos" / "Buoy")
    prepare(tmp_path / "photos", tmp_path / "bare", Options(extend=own.folder))
    bare = read_classes(tmp_path / "bare")
    assert (len(bare), bare.drawn) == (13, 12)
    assert (
        carry_faces(Bundle(own.folder, replace(own.manifest, labels=bare.names, numbers=(), sizes_mm=())), tmp_path / "bare").manifest.faces
        == carried.manifest.faces
    )
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "Buoy.svg").write_text(SVG, encoding="utf-8")
    prepare(tmp_path / "photos", tmp_path / "data", Options(extend=own.folder, faces=tmp_path / "faces"))
    classes = read_classes(tmp_path / "data")
    assert (classes.names, classes.drawn, classes.faces[:12]) == ((*NAMES, "Buoy"), 13, bare.faces)


def test_reviewed_photos_stand_beside_the_faces_of_their_bundle(data: Path, tmp_path: Path) -> None:
    classes = read_classes(data)
    (tmp_path / "reviewed" / NAMES[1] / "sign").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "reviewed" / NAMES[1] / "sign" / "0.png"), face(1)[64:192, 64:192, :3])
    manifest = replace(read_bundle(SHIPPED).manifest, labels=classes.names, numbers=(), sizes_mm=())
    write_added(tmp_path / "reviewed", tmp_path / "added", manifest, data, faces=classes.faces)
    assert read_classes(tmp_path / "added").faces == classes.faces


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        (f"{NAMES[0]}.svg", "<svg", "wanted a drawing that can be read at .*, found a fault"),
        (f"{NAMES[0]}.svg", SVG.replace("#ff8800", "none"), "wanted a drawing that shows something at .*, found it transparent"),
        (f"{NAMES[0]}.png", "no picture", "wanted an image in .*, found"),
        ("Buoy.svg", SVG, f"wanted a face of every class in .*, found none of {NAMES[0]}, and others of Buoy: add an SVG or a PNG of that name"),
    ],
    ids=["damaged", "empty", "no picture", "another name"],
)
def test_a_face_with_a_fault_is_told_and_nothing_is_written(drawings: Path, tmp_path: Path, file: str, content: str, told: str) -> None:
    write_photos(tmp_path / "photos", 4, names=NAMES[:COUNT])
    faces = tmp_path / "faces"
    faces.mkdir()
    for class_id in (1, 2):
        (faces / f"{NAMES[class_id]}.png").write_bytes((drawings / f"{NAMES[class_id]}.png").read_bytes())
    (faces / file).write_text(content, encoding="utf-8")
    with pytest.raises((DataError, InputError), match=told):
        prepare(tmp_path / "photos", tmp_path / "data", Options(faces=faces))
    with pytest.raises(InputError, match="wanted a folder of faces, an SVG or a PNG named as each class is, found none at"):
        prepare(tmp_path / "photos", tmp_path / "data", Options(faces=tmp_path / "nowhere"))
    assert not (tmp_path / "data").exists()
