"""The self-test's file: whatever stands in it, it is read or refused as a bundle's, in one line, and before it takes memory."""

from __future__ import annotations

import io
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import refused, rehash_golden

from edge.bundle.golden import read_golden
from edge.bundle.manifest import read_bundle
from edge.errors import BundleError


def bomb(path: Path) -> None:
    """257 MiB of zeros, which a member of a few hundred kB becomes; its header tells of 18 GB."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (10_000_000, 24, 24, 3)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("images", "probabilities"):
            with archive.open(f"{name}.npy", "w") as member:
                member.write(head.getvalue())
                for _ in range(129):
                    member.write(bytes(1 << 20))


def shapes_alone(path: Path) -> None:
    """Headers that tell of 18 GB, and nothing behind them."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (10_000_000, 24, 24, 3)})
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("images", "probabilities"):
            archive.writestr(f"{name}.npy", head.getvalue())


SPOILED: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "no zip": lambda path: path.write_bytes(b"hello"),
    "an array alone": lambda path: path.write_bytes(saved_array()),
    "a bomb": bomb,
    "shapes alone": shapes_alone,
    "numbers for pictures": lambda path: np.savez(path, images=np.zeros(3), probabilities=np.zeros((3, 43), np.float32)),
    "text for numbers": lambda path: np.savez(path, images=np.zeros((1, 24, 24, 3), np.uint8), probabilities=np.full((1, 43), "x")),
    "too many": lambda path: np.savez(path, images=np.zeros((2000, 24, 24, 3), np.uint8), probabilities=np.zeros((2000, 43), np.float32)),
    "objects": lambda path: np.savez(path, images=np.array([{}], object), probabilities=np.zeros((1, 43), np.float32)),
}


def saved_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_spoiled_golden_file_is_refused_in_one_line_and_without_memory(tiny_bundle: Path, spoil: str) -> None:
    SPOILED[spoil](tiny_bundle / "golden.npz")
    rehash_golden(tiny_bundle)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleError) as refusal:
        read_golden(read_bundle(tiny_bundle), "classifier")
    assert "\n" not in str(refusal.value)
    assert "golden.npz" in str(refusal.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 100 << 10


def test_so_the_command_ends_with_one_line(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny_bundle / "golden.npz").write_bytes(b"")
    rehash_golden(tiny_bundle)
    assert "golden.npz" in refused(capsys, "check", tiny_bundle)
