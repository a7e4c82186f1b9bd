"""Faces of own signs in a bundle: those of its data set, or those of the bundle that it is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge.bundle.manifest import Bundle, Faces
from edge.datasets.classes import read_classes
from edge.datasets.faces import PACKED, PaintedFace, packed
from edge.files import sha256_of, written_beside


def carry_faces(draft: Bundle, data: Path, former: Bundle | None = None) -> Bundle:
    """Write the faces that a data set has of a bundle's own classes into its folder.

    Args:
        draft: the bundle; GTSRB's faces are drawn, and no bundle carries them.
        data: its data set.
        former: a bundle of the same classes, whose faces are taken where the data set has none.

    Returns:
        The bundle, its manifest telling of them; as it was where there are none.

    Raises:
        BundleError: the former bundle's file is damaged.
        DataError: a damaged data set.
        OutputError: the file cannot be written.
    """
    classes = read_classes(data)
    painted = {class_id: face for class_id, face in enumerate(classes.faces) if isinstance(face, PaintedFace)}
    if painted and classes.names == draft.manifest.labels:
        content = packed(painted)
    elif former is not None and (kept := former.manifest.faces):
        content = former.verified_path(kept.file, kept.sha256).read_bytes()
    else:
        return draft
    with written_beside(path := draft.folder / PACKED) as beside:
        beside.write_bytes(content)
    return Bundle(draft.folder, replace(draft.manifest, faces=Faces(PACKED, sha256_of(path))))
