"""The one error tree. Each error is also the builtin that a stranger would catch, and its text is the line that the user reads.

    SignwingError
    ├── InputError        (ValueError)         a file, folder, image or option is not what was wanted
    ├── DataError         (ValueError)         a data set is not in a layout that is known
    ├── BundleError       (ValueError)         a bundle or its manifest is missing, damaged, newer, or does not fit
    ├── EngineError       (RuntimeError)       an inference engine cannot be loaded or refused its input
    ├── SourceError       (OSError)            a frame source cannot be opened or stays silent
    ├── OutputError       (OSError)            an output cannot be written
    ├── VerificationError (RuntimeError)       two artefacts that must agree do not
    └── MissingDependency (ImportError)        an optional package is needed and absent

A message says what was wanted, what was found, and what cures it. Whoever shows it gets it on one line and without passwords, whatever was found.
"""

from __future__ import annotations

from edge.outside.text import shown

__all__ = [
    "BundleError",
    "DataError",
    "EngineError",
    "InputError",
    "MissingDependency",
    "OutputError",
    "SignwingError",
    "SourceError",
    "VerificationError",
    "one_line",
]


class SignwingError(Exception):
    """Root of all errors that are the user's business: printed as one line, exit code 1."""

    def __str__(self) -> str:
        return shown(super().__str__())


class InputError(SignwingError, ValueError):
    """A file, folder, image or option is not what was wanted."""


class DataError(SignwingError, ValueError):
    """A data set is not in a layout that is known, or lacks a part."""


class BundleError(SignwingError, ValueError):
    """A bundle or its manifest is missing, damaged, of a newer schema, or does not fit the use."""


class EngineError(SignwingError, RuntimeError):
    """An inference engine cannot be loaded, or refused its input."""


class SourceError(SignwingError, OSError):
    """A source of frames cannot be opened or gives none."""


class OutputError(SignwingError, OSError):
    """An output cannot be written where it was asked for."""


class VerificationError(SignwingError, RuntimeError):
    """Two artefacts that must agree do not; nothing was written under the final name."""


class MachineError(SignwingError, RuntimeError):
    """The machine lacks what the runtime needs, or is not set up for it."""


class MissingDependency(SignwingError, ImportError):
    """An optional package is needed and absent; the message names the extra that brings it."""


def one_line(error: Exception) -> str:
    """Return what a library's error says, on one line, without passwords and cut to 200 characters, for a message of ours."""
    return shown(" ".join(str(error).split()))[:200]
