"""Download GTSRB as its authors publish it and unpack it into the official layout, which edge.datasets.gtsrb reads.

What has come of an archive stays in DEST as `<name>.part`, and a later call goes on from there. A part of the layout appears by one rename when all of it is
unpacked, so whatever stands under its final name is whole.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PureWindowsPath
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from edge.errors import DataError, OutputError, SourceError
from edge.files import telling_refusal

TRIES = 5
TIMEOUT_S = 30
PIECE = 1 << 16
MIB = 1 << 20
_ERDA = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"


@dataclass(frozen=True)
class Archive:
    """One zip of a data set, and what of it goes where.

    Attributes:
        url: where it is published; the last part is its file name.
        md5: its checksum in hexadecimal.
        inside: the folder or file in the zip that is wanted.
        place: where that belongs, relative to the data set's root.
        room_mib: disk space that the zip and what it holds take together, rounded up.
    """

    url: str
    md5: str
    inside: str
    place: str
    room_mib: int

    @property
    def name(self) -> str:
        """The file name of the zip."""
        return self.url.rpartition("/")[2]


# Addresses and checksums as torchvision publishes them (torchvision/datasets/gtsrb.py). Its training archive is that of the IJCNN 2011 competition:
# 26,640 of the 39,209 photos. Order matters: the last one goes into the folder that the one before it makes.
GTSRB = (
    Archive(f"{_ERDA}/GTSRB-Training_fixed.zip", "513f3c79a4c5141765e10e952eaa2478", "GTSRB/Training", "Final_Training/Images", 500),
    Archive(f"{_ERDA}/GTSRB_Final_Test_Images.zip", "c7e4e6327067d32654124b0fe9e82185", "GTSRB/Final_Test/Images", "Final_Test/Images", 250),
    Archive(f"{_ERDA}/GTSRB_Final_Test_GT.zip", "fe31e9c9270bbcd7b84b7f21a9d9d9e5", "GT-final_test.csv", "Final_Test/Images/GT-final_test.csv", 1),
)


def fetch(dest: Path, archives: Sequence[Archive] = GTSRB, pause_s: float = 1.0) -> None:
    """Bring what `dest` lacks of a data set; nothing is asked of the network where it is complete.

    An archive that lies in `dest` already, say brought by hand, is checked and used.

    Args:
        dest: root of the data set, made if need be.
        archives: what it consists of, in the order of unpacking.
        pause_s: seconds to wait after the first dropped connection, doubled after each further one.

    Raises:
        SourceError: the server cannot be reached, has no such file, or drops the connection again and again; what came is kept.
        DataError: an archive has another checksum (it is removed), is damaged, lacks what was wanted, or tries to leave its folder.
        OutputError: not enough disk space, or `dest` cannot be written.
    """
    dest = Path(dest)
    missing = [archive for archive in archives if not (dest / archive.place).exists()]
    with telling_refusal(dest):
        dest.mkdir(parents=True, exist_ok=True)
        _check_room(dest, missing)
        for archive in missing:
            file = dest / archive.name
            if not file.is_file():
                _download(archive, file, pause_s)
            _check_sum(archive, file)
            _unpack(archive, file, dest)
            file.unlink()


def _part(file: Path) -> Path:
    return file.with_name(file.name + ".part")


def _check_room(dest: Path, missing: Sequence[Archive]) -> None:
    here = sum(file.stat().st_size for archive in missing for file in (dest / archive.name, _part(dest / archive.name)) if file.is_file())
    wanted, free = sum(archive.room_mib for archive in missing) - here // MIB, shutil.disk_usage(dest).free // MIB
    if free < wanted:
        raise OutputError(f"wanted {wanted} MiB of disk space in {dest}, found {free} MiB free: make room or choose another folder")


def _download(archive: Archive, file: Path, pause_s: float) -> None:
    """Receive an archive, going on after each drop where the last try ended."""
    for tried in range(TRIES):
        if tried:
            time.sleep(pause_s * 2 ** (tried - 1))
        try:
            _receive(archive, _part(file))
        except ConnectionError as error:
            dropped = error
            print(f"{archive.name}: try {tried + 1} of {TRIES} broke off ({error})", file=sys.stderr)
        else:
            _part(file).replace(file)
            return
    cure = f"call again to go on from there, or put a copy of {archive.name} into {file.parent} yourself"
    raise SourceError(f"wanted {archive.url}, the connection broke {TRIES} times, at last with: {dropped}: {cure}") from dropped


def _receive(archive: Archive, part: Path) -> None:
    """Append to `part` what it lacks, or write it anew if the server gives only the whole.

    Raises:
        ConnectionError: less came than was announced; another try may help.
        SourceError: the server refuses the file for good.
    """
    start = part.stat().st_size if part.is_file() else 0
    response = _open(archive.url, start)
    if response is None:
        return
    with response:
        start = start if response.status == 206 else 0
        total = None if response.length is None else start + response.length
        bar = tqdm(desc=archive.name, initial=start, total=total, unit="B", unit_scale=True, unit_divisor=1024, disable=None)
        with part.open("ab" if start else "wb") as out, bar:
            for piece in _pieces(response):
                out.write(piece)
                bar.update(len(piece))
            size = out.tell()
    if total is not None and size != total:
        raise ConnectionError(f"{size} of {total} bytes came")


def _open(url: str, start: int) -> HTTPResponse | None:
    """Ask for `url` from byte `start` on; None where the server has nothing after `start` (whether that is right, the checksum tells)."""
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310 - the address is one of the constants above
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT_S)  # noqa: S310 - as above
    except HTTPError as error:
        error.close()
        if error.code == 416:
            return None
        if error.code >= 500 or error.code in (408, 429):
            raise ConnectionError(f"{error.code} {error.reason}") from error
        cure = "look whether it has moved, and put a copy into the folder yourself"
        raise SourceError(f"wanted {url}, the server answered {error.code} {error.reason}: {cure}") from error
    except (OSError, HTTPException) as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
    return response


def _pieces(response: HTTPResponse) -> Iterator[bytes]:
    """Read a response; an error of the network is told apart from one of the disk by being a ConnectionError."""
    try:
        while piece := response.read(PIECE):
            yield piece
    except (OSError, HTTPException) as error:
        raise ConnectionError(str(error) or type(error).__name__) from error


def _check_sum(archive: Archive, file: Path) -> None:
    # MD5 is what is published. It tells a damaged download, not a forged one: that is what HTTPS is for.
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as content:
        while piece := content.read(MIB):
            digest.update(piece)
    if digest.hexdigest() != archive.md5:
        file.unlink()
        raise DataError(f"wanted {archive.name} with MD5 {archive.md5}, found {digest.hexdigest()}: the file is removed, call again to download it anew")


def _unpack(archive: Archive, file: Path, dest: Path) -> None:
    """Unpack beside and give what is wanted its final name by one rename."""
    beside = dest / f".{archive.name}.unpacking"
    shutil.rmtree(beside, ignore_errors=True)  # of a call that was killed
    try:
        with zipfile.ZipFile(file) as content:
            entries = content.infolist()
            _check_entries(entries, file)
            for entry in tqdm(entries, f"unpacking {archive.name}", unit="file", disable=None):
                content.extract(entry, beside)
        if not (beside / archive.inside).exists():
            raise DataError(f"wanted {archive.inside} in {file}, found none: this is another archive, remove it and call again")
        (dest / archive.place).parent.mkdir(parents=True, exist_ok=True)
        (beside / archive.inside).replace(dest / archive.place)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"wanted a whole zip in {file}, found a damaged one ({error}): remove it and call again") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_entries(entries: Sequence[zipfile.ZipInfo], file: Path) -> None:
    """Refuse a zip of which an entry would land elsewhere or is no plain file or folder, before anything is written."""
    for entry in entries:
        path = PureWindowsPath(entry.filename)  # knows both separators and drive letters, so it sees all that any system would follow
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if path.drive or path.root or ".." in path.parts or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"wanted only files that stay in their folder in {file}, found {entry.filename!r}: do not unpack this archive, remove it")
