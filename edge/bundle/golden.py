"""The self-test that travels with a bundle: inputs, the outputs to expect, and how far others are from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Bundle
from edge.errors import BundleError

ROLES = {"classifier": ("images", "probabilities"), "spotter": ("frames", "maps")}
"""The arrays of the golden file by role: inputs, and the outputs to expect."""
_A_SIGN = 0.3
"""Heat of a spotter's map from which its boxes are compared: elsewhere they mean nothing."""


def read_golden(bundle: Bundle, role: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read the self-test of a role: inputs, (n, height, width, 3) uint8 BGR, and what comes of them, float32 (n, ...).

    Raises:
        BundleError: the file is damaged, or lacks an array.
    """
    path = bundle.verified_path(bundle.manifest.golden.file, bundle.manifest.golden.sha256)
    taken, given = ROLES[role]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            inputs, wanted = arrays[taken], arrays[given]
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"wanted arrays {taken} and {given} in {path}, cannot read them ({error}): export the bundle again") from error
    output = next(model.output.shape[1:] for model in bundle.manifest.models if model.role == role)
    if inputs.dtype != np.uint8 or inputs.ndim != 4 or len(inputs) == 0 or wanted.shape != (len(inputs), *output):
        raise BundleError(f"wanted {taken} and an output for each in {path}, found {inputs.shape} and {wanted.shape}: export the bundle again")
    return inputs, wanted.astype(np.float32, copy=False)


def difference(role: str, found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Return the largest absolute difference of two outputs of a role, float32 of one shape; infinite where one is no number.

    Of a spotter's maps, (n, 5, height, width), the heat counts everywhere, and the other planes where `wanted` has a sign.
    """
    apart = np.nan_to_num(np.abs(found - wanted), nan=np.inf)
    if role == "spotter":
        apart[:, 1:] = np.where(wanted[:, :1] >= _A_SIGN, apart[:, 1:], 0)
    return float(apart.max())
