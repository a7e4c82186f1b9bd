"""Files that are the old one or the new one, and nothing beside them."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import OutputError, SourceError
from edge.files import check_outputs, check_place, descriptor, sha256_of, write_json, write_text, written_beside

ROOT = Path(__file__).resolve().parents[2]


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on the way" / "film.mp4"
    with written_beside(path) as beside:
        beside.write_bytes(b"whole")
        assert not path.exists()
        assert (beside.parent, beside.suffix) == (path.parent, ".mp4")
    assert [file.name for file in path.parent.iterdir()] == ["film.mp4"]
    assert path.read_bytes() == b"whole"


def write_half(path: Path, error: BaseException) -> None:
    with written_beside(path) as beside:
        beside.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SourceError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(error):
        write_half(path, error("while writing"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_of_the_system_while_writing_is_told_as_one_line(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with pytest.raises(OutputError, match=r"wanted to write .*result\.json, the system refused: No space left on device") as refused:
        write_half(path, OSError(28, "No space left on device"))
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another place"):
        write_text(tmp_path / "file" / "result.json", "text")
    assert (tmp_path / "file").read_text() == ""


def test_a_name_that_the_system_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="choose another place"):
        write_text(tmp_path / ("x" * 300), "text")


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(OutputError):
        write_text(tmp_path / "result.json", "text")
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_json_is_utf8_and_holds_what_was_given(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"label": "Straße", "list": [1, None, 0.5]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"label": "Straße", "list": [1, None, 0.5]}


def test_json_that_others_could_not_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"p50_ms": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_sha256_is_that_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 1_000_000)
    (tmp_path / "b").write_bytes(b"a" * 500_000)
    assert sha256_of(tmp_path / "a") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"  # FIPS 180-2, B.3
    assert sha256_of(tmp_path / "b") != sha256_of(tmp_path / "a")


def test_checking_a_place_leaves_what_stands_there(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("old")
    check_place(tmp_path / "x.json")
    check_place(tmp_path / "new" / "y.json")
    assert (tmp_path / "x.json").read_text() == "old"
    assert not list((tmp_path / "new").iterdir())


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Two names of one film, a photo in a folder, a bundle, and a name that is free."""
    film, link, hard = tmp_path / "x.mp4", tmp_path / "link.mp4", tmp_path / "hard.mp4"
    film.write_text("film")
    link.symlink_to(film)
    hard.hardlink_to(film)
    photos, bundle = tmp_path / "photos", tmp_path / "bundle"
    photos.mkdir()
    bundle.mkdir()
    (photos / "a.PNG").write_text("photo")
    for name in ("s.json", "names.csv", "Train.csv"):
        (photos / name).write_text("{}")
    (bundle / "manifest.json").write_text("{}")
    (tmp_path / "to_photos").symlink_to(photos)
    return {"film": film, "link": link, "hard": hard, "photos": photos, "bundle": bundle, "free": tmp_path / "free.json"}


def test_an_output_is_never_an_input(places: dict[str, Path], tmp_path: Path) -> None:
    film, photos, bundle = places["film"], places["photos"], places["bundle"]
    (tmp_path / ".v.partial.mp4").write_text("what a killed run left")
    for output, source in (
        (film, film),
        (places["link"], film),
        (places["hard"], film),
        (film, places["link"]),
        (tmp_path / "photos" / ".." / "x.mp4", film),
        (photos / "a.PNG", photos),
        (tmp_path / "to_photos" / "a.PNG", photos),
        (photos / "a.PNG", tmp_path / "to_photos"),
        (photos / "Train.csv", photos),
        (bundle / "manifest.json", bundle),
        (bundle / "new.json", bundle),
        (bundle / "engines" / "new.json", bundle),
        (bundle, bundle),
        (tmp_path / "v.mp4", tmp_path / ".v.partial.mp4"),
    ):
        with pytest.raises(OutputError, match=r"found what is read .*: choose another name"):
            check_outputs({"--json": output}, {"source": source})


def test_an_output_is_never_another_output(places: dict[str, Path], tmp_path: Path) -> None:
    for one, two in (
        (tmp_path / "a.json", tmp_path / "a.json"),
        (tmp_path / "a.json", tmp_path / "A.JSON"),
        (tmp_path / "straße.json", tmp_path / "STRASSE.json"),
        (places["link"], places["film"]),
        (tmp_path / "to_photos" / "new.json", places["photos"] / "new.json"),
        (tmp_path / "a.json", tmp_path / ".a.partial.json"),
    ):
        with pytest.raises(OutputError, match="in the same place"):
            check_outputs({"--events": one, "--json": two}, {})


def test_what_replaces_nothing_is_allowed(places: dict[str, Path], tmp_path: Path) -> None:
    outputs = {
        "--events": places["free"],
        "--json": places["photos"] / "s.json",
        "--csv": places["photos"] / "names.csv",
        "--sheet": places["photos"] / "new.png",
        "--video": tmp_path / "X.avi",
    }
    check_outputs(outputs, {"source": [places["photos"], places["film"], tmp_path / "absent" / "x.mp4"], "bundle": places["bundle"]})
    check_outputs({"--events": Path("/dev/null"), "--json": Path("/dev/null")}, {})


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_an_open_descriptor_is_known_by_every_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(name)
    (tmp_path / "link of link").symlink_to("link")
    assert descriptor(Path(name)) == 1
    if name != "-":
        assert descriptor(tmp_path / "link") == descriptor(tmp_path / "link of link") == 1
    (tmp_path / "ring").symlink_to("ring")
    assert descriptor(tmp_path / "ring") is None
    assert descriptor(tmp_path / "plain") is None


def test_what_is_no_file_is_written_in_place(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "null").symlink_to("/dev/null")
    for name in (Path("/dev/null"), tmp_path / "null"):
        check_place(name)
        write_text(name, "text")
        assert stat.S_ISCHR(name.stat().st_mode)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    check_place(fifo)
    write_text(fifo, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "null"]


def test_a_descriptor_is_written_at_its_own_place(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("wb", buffering=0) as file:
        file.write(b"before ")
        write_text(Path(f"/dev/fd/{file.fileno()}"), "text")
        file.write(b" after")
    assert (tmp_path / "out.txt").read_text() == "before text after"


@pytest.mark.parametrize("name", ["full", "fifo"])
def test_what_takes_nothing_is_told_as_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    os.mkfifo(tmp_path / "fifo")
    check_place(tmp_path / name)
    with pytest.raises(OutputError, match=r"No space left|nobody who reads it"):
        write_text(tmp_path / name, "text")


def test_a_socket_is_no_place_for_an_output(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for write in (check_place, lambda path: write_text(path, "text")):
            with pytest.raises(OutputError, match="found a socket"):
                write(tmp_path / "socket")


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to("there/a.json")
    write_text(tmp_path / "link.json", "text")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "there" / "a.json").read_text() == "text"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a.json"]


def test_a_link_under_the_partial_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("old")
    (tmp_path / ".a.partial.json").symlink_to("precious")
    write_text(tmp_path / "a.json", "new")
    assert ((tmp_path / "precious").read_text(), (tmp_path / "a.json").read_text()) == ("old", "new")


def test_a_power_cut_finds_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("needs strace (Debian, Ubuntu: apt install strace)")
    code = "import sys; from pathlib import Path; from edge.files import write_text; write_text(Path(sys.argv[1]), 'new')"
    watched = [
        "strace",
        "-f",
        "-y",
        "-e",
        "trace=fsync,rename,renameat,renameat2",
        "-o",
        tmp_path / "trace",
        sys.executable,
        "-c",
        code,
        tmp_path / "made/state",
    ]
    subprocess.run(watched, cwd=ROOT, check=True)
    told = re.findall(r"(fsync|rename)\w*\((?:\d+<([^>]*)>)?", (tmp_path / "trace").read_text())
    assert told == [("fsync", f"{tmp_path}/made/.state.partial"), ("rename", ""), ("fsync", f"{tmp_path}/made")]


def test_who_waits_at_a_fifo_is_not_told_that_all_is_written(tmp_path: Path) -> None:
    fifo = tmp_path / "s.json"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_place(fifo)
        told = select.poll()
        told.register(reading)
        assert told.poll(0) == []
        write_json(fifo, {"schema": 1})
        assert json.loads(os.read(reading, 4096)) == {"schema": 1}
    finally:
        os.close(reading)
