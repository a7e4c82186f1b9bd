"""What a decoder of recordings is. PyAV and OpenCV give the same pictures of the same file; PyAV knows more about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright, whole: `image` (height, width, 3) uint8 BGR; `media_s` when it is to be shown, in seconds from the recording's start."""

    image: NDArray[np.uint8]
    media_s: float | None


class Decoder(Protocol):
    """An open recording, read once."""

    @property
    def fps(self) -> float | None:
        """Frames a second that the file tells; None where it does not."""
        ...

    @property
    def what(self) -> str:
        """Codec and container, for a message; "" where nothing is known."""
        ...

    def __iter__(self) -> Iterator[Picture | int]:
        """Give the pictures in the order in which they are shown, and where some are lost, how many."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...
