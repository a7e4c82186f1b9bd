"""Lays out what scripts/deploy carries to a board: the runtime's source, what builds engines, a bundle, wheels, and SHA256SUMS over all of it.

    python3 scripts/board/release.py BUNDLE DEST [WHEELS]

Prints the release's id, the start of the SHA-256 of SHA256SUMS: the same content is the same release.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from edge.bundle.manifest import MANIFEST, read_bundle  # noqa: E402
from edge.errors import InputError, SignwingError  # noqa: E402
from edge.files import sha256_of  # noqa: E402

SOURCES = (
    "edge/**/*.py",
    "edge/outputs/web/page/*",
    "edge/commands/review/page/*",
    "export/__init__.py",
    "export/__main__.py",
    "export/engines/*.py",
    "LICENSE",
)
"""What runs on the board. Of export only what builds engines: the rest, and all of train, needs TensorFlow."""


def lay_out(folder: Path, destination: Path, wheels: Path | None) -> str:
    """Copy a release into an empty folder and return its id: of a bundle what its manifest names by hash, and nothing else that lies there.

    Raises:
        BundleError: the bundle is none, of another schema, or its files are not those of its manifest.
        InputError: a wheel is for one machine alone, or a link would have carried what it leads to.
    """
    bundle = read_bundle(folder)
    files = {path.relative_to(ROOT): path for pattern in SOURCES for path in sorted(ROOT.glob(pattern)) if not path.is_dir()}
    files[Path("bundle", MANIFEST)] = bundle.folder / MANIFEST
    for part in bundle.manifest.files:
        files[Path("bundle", part.file)] = bundle.verified_path(part.file, part.sha256)
    for wheel in sorted(wheels.glob("*.whl")) if wheels else ():
        if not wheel.name.endswith("-none-any.whl"):
            raise InputError(f"wanted wheels of pure Python, which run on any board, found {wheel.name}: take it out of {wheels}")
        files[Path("wheels", wheel.name)] = wheel
    for place, path in files.items():
        if path.is_symlink() or not path.is_file():
            raise InputError(f"wanted plain files in a release, found {path}, a link or a device: put the file itself there")
        (destination / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, destination / place)
    sums = "".join(f"{sha256_of(destination / place)}  {place}\n" for place in sorted(files))
    (destination / "SHA256SUMS").write_text(sums, encoding="utf-8")
    return hashlib.sha256(sums.encode()).hexdigest()[:12]


if __name__ == "__main__":
    try:
        print(lay_out(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3:] and sys.argv[3] else None))
    except (SignwingError, OSError) as failure:
        sys.exit(f"scripts/deploy: {failure}")
