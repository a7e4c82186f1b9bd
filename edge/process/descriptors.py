"""The descriptors of the standard streams: open, whatever who started us has closed. Imports nothing that takes long."""

import os


def hold_standard() -> None:
    """Let a stream that was closed lead nowhere: its number would be given to the next file that is opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
