"""The self-test that travels with a bundle: inputs, the outputs to expect, and how far others are from them."""

from __future__ import annotations

import zipfile

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Bundle
from edge.errors import BundleError, one_line

ROLES = {"classifier": ("images", "probabilities"), "spotter": ("frames", "maps")}
"""The arrays of the golden file by role: inputs, and the outputs to expect."""
_MOST_BYTES, _MOST_INPUTS = 256 << 20, 1024
_A_SIGN = 0.3
"""Heat of a spotter's map from which its boxes are compared: elsewhere they mean nothing."""


def read_golden(bundle: Bundle, role: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read the self-test of a role: inputs, (n, height, width, 3) uint8 BGR, and what comes of them, float32 (n, ...).

    Raises:
        BundleError: the file is damaged or too large, or lacks an array.
    """
    path = bundle.verified_path(bundle.manifest.golden.file, bundle.manifest.golden.sha256)
    taken, given = ROLES[role]
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(archive.getinfo(f"{name}.npy").file_size for name in (taken, given))
        if size > _MOST_BYTES:
            raise ValueError(f"they have {size >> 20} MiB, more than {_MOST_BYTES >> 20}")
        with np.load(path, allow_pickle=False) as arrays:
            inputs, wanted = arrays[taken], arrays[given]
    except Exception as error:  # zipfile, zlib and NumPy raise many things for a damaged archive, SyntaxError and EOFError among them
        raise BundleError(f"wanted arrays {taken} and {given} in {path}, cannot read them ({one_line(error)}): export the bundle again") from error
    output = next(model.output.shape[1:] for model in bundle.manifest.models if model.role == role)
    fits = inputs.dtype == np.uint8 and inputs.ndim == 4 and 1 <= len(inputs) <= _MOST_INPUTS
    if not fits or wanted.dtype.kind != "f" or wanted.shape != (len(inputs), *output):
        found = f"{inputs.shape} {inputs.dtype} and {wanted.shape} {wanted.dtype}"
        raise BundleError(f"wanted 1 to {_MOST_INPUTS} {taken} and an output for each in {path}, found {found}: export the bundle again")
    return inputs, wanted.astype(np.float32, copy=False)


def difference(role: str, found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Return the largest absolute difference of two outputs of a role, float32 of one shape; infinite where one is no number.

    Of a spotter's maps, (n, 5, height, width), the heat counts everywhere, and the other planes where `wanted` has a sign.
    """
    apart = np.nan_to_num(np.abs(found - wanted), nan=np.inf)
    if role == "spotter":
        apart[:, 1:] = np.where(wanted[:, :1] >= _A_SIGN, apart[:, 1:], 0)
    return float(apart.max())
