"""Opens a recording by what is installed."""

from __future__ import annotations

from pathlib import Path

from edge.sources.decoding import pyav
from edge.sources.decoding.contract import Decoder


def open_decoder(path: Path) -> Decoder:
    """Open a file by what is installed.

    Raises:
        SourceError: it holds no video, or one that cannot be opened.
    """
    if pyav.is_here():
        from edge.sources.decoding.by_pyav import PyavDecoder

        return PyavDecoder(path)
    from edge.sources.decoding.by_opencv import OpencvDecoder

    return OpencvDecoder(path)
