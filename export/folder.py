"""The place where a bundle is written: a partial folder beside it, which takes its place only when all has passed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.bundle.manifest import MANIFEST
from edge.datasets.faces import PACKED
from edge.errors import OutputError, SignwingError
from export.card import CARD, PICTURE
from export.judging.golden import FILE as GOLDEN

BELONGS = frozenset({MANIFEST, CARD, PICTURE, GOLDEN, PACKED, "engines"})


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Give a partial folder beside `out`; it takes the place of `out` on success and goes away on any failure.

    Raises:
        OutputError: `out` holds something else than a bundle, or cannot be written.
    """
    out = out.resolve()
    partial, old = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.partial-old")
    try:
        if old.exists() and not out.exists():  # killed between the two renames of `_swap`
            old.rename(out)
        _refuse_strangers(out)
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
    except SignwingError:
        raise
    except OSError as error:
        raise OutputError(f"wanted to write a bundle to {out}, the system refused: {error.strerror or error}: choose another --out") from error
    try:
        yield partial
        _swap(partial, out, old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _swap(partial: Path, out: Path, old: Path) -> None:
    try:
        if out.exists():
            out.rename(old)
        try:
            partial.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise OutputError(f"wanted to put the bundle at {out}, the system refused: {error.strerror or error}: choose another --out") from error
    shutil.rmtree(old, ignore_errors=True)


def _refuse_strangers(out: Path) -> None:
    """Refuse to replace anything that is not a bundle and nothing else."""
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"wanted a folder to write a bundle to, found a file at {out}: choose another --out")
    held = {path.name for path in out.iterdir()}
    strangers = sorted(name for name in held if name not in BELONGS and not name.endswith(".onnx"))
    if strangers or (held and MANIFEST not in held):
        raise OutputError(
            f"wanted a new folder, an empty one or a bundle at {out}, found {', '.join(strangers or sorted(held))[:120]} in it: choose another --out"
        )
