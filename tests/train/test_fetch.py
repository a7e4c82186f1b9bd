"""Fetching GTSRB from a server that behaves as servers do: it drops, ignores, errs, and gives what was not asked for."""

from __future__ import annotations

import io
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tqdm", reason="needs the train extra")
from archives import TEST_FILES, TRAIN_FILES, Server, gtsrb, train_zip, zipped
from commands import started
from media import small_disk

from edge import cli
from edge.datasets.gtsrb import read_test, read_train
from edge.errors import DataError, OutputError, SignwingError, SourceError
from train.__main__ import _parser
from train.fetch import GTSRB, PIECE, TRIES, Archive, fetch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.drops.set()
        served.shutdown()
        thread.join()


@pytest.fixture
def train(server: Server) -> Archive:
    return server.archive(train_zip())


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wanted(server: Server, name: str = "train.zip") -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(server.files[name])) as content:
        return {n.replace("GTSRB/Training", "Final_Training/Images"): content.read(n) for n in content.namelist() if n.startswith("GTSRB/Training/")}


def refusal(kind: type[SignwingError], dest: Path, *archives: Archive) -> str:
    with pytest.raises(kind) as refused:
        fetch(dest, archives, pause_s=0)
    told = str(refused.value)
    assert told.startswith("wanted ")
    assert "\n" not in told
    assert not (dest / "Final_Training").exists()
    assert not list(dest.glob(".*"))
    return told


def test_what_is_fetched_is_what_edge_reads(server: Server, tmp_path: Path) -> None:
    fetch(tmp_path / "new" / "gtsrb", gtsrb(server))
    root = tmp_path / "new" / "gtsrb"
    assert {(photo.class_id, photo.path.name) for photo in read_train(root)} == TRAIN_FILES
    assert {photo.path.name: photo.class_id for photo in read_test(root)} == TEST_FILES
    assert all(photo.path.is_file() for photo in [*read_train(root), *read_test(root)])
    assert len({photo.track for photo in read_train(root)}) == 4
    assert sorted(path.name for path in root.iterdir()) == ["Final_Test", "Final_Training"]


def test_a_second_call_asks_for_nothing(server: Server, tmp_path: Path) -> None:
    archives = gtsrb(server)
    fetch(tmp_path, archives)
    asked, before = len(server.asked), tree(tmp_path)
    fetch(tmp_path, archives)
    assert len(server.asked) == asked == 3
    assert tree(tmp_path) == before


def test_only_what_is_missing_is_fetched(server: Server, tmp_path: Path) -> None:
    archives = gtsrb(server)
    fetch(tmp_path, archives[:1])
    (tmp_path / "notes.txt").write_text("kept")
    fetch(tmp_path, archives)
    assert [name for name, _ in server.asked] == [archive.name for archive in archives]
    assert (tmp_path / "notes.txt").read_text() == "kept"


def test_after_a_drop_only_the_rest_is_asked_for(server: Server, train: Archive, tmp_path: Path) -> None:
    server.cuts = [5000, 3000]
    fetch(tmp_path, [train], pause_s=0)
    assert server.asked == [("train.zip", 0), ("train.zip", 5000), ("train.zip", 8000)]
    assert tree(tmp_path) == wanted(server)


def test_a_server_that_ignores_ranges_is_asked_anew(server: Server, train: Archive, tmp_path: Path) -> None:
    server.cuts, server.knows_range = [5000], False
    fetch(tmp_path, [train], pause_s=0)
    assert server.asked == [("train.zip", 0), ("train.zip", 5000)]
    assert tree(tmp_path) == wanted(server)


def test_a_server_that_does_not_say_how_much_comes_may_drop_too(server: Server, tmp_path: Path) -> None:
    archive = server.archive(zipped({"GTSRB/Training/noise": np.random.default_rng(0).bytes(100_000)}))
    server.cuts, server.chunked = [80_000], True
    fetch(tmp_path, [archive], pause_s=0)
    assert server.asked == [("train.zip", 0), ("train.zip", PIECE)]
    assert tree(tmp_path) == wanted(server)


def test_a_server_that_is_busy_for_a_moment_is_asked_again(server: Server, train: Archive, tmp_path: Path) -> None:
    server.errors = [503, 429]
    fetch(tmp_path, [train], pause_s=0)
    assert len(server.asked) == 3
    assert tree(tmp_path) == wanted(server)


def test_waits_grow_from_try_to_try(server: Server, train: Archive, tmp_path: Path) -> None:
    server.errors = [503, 503]
    before = time.monotonic()
    fetch(tmp_path, [train], pause_s=0.1)
    assert 0.3 <= time.monotonic() - before < 3


def test_a_line_that_breaks_again_and_again_keeps_what_came_for_the_next_call(server: Server, train: Archive, tmp_path: Path) -> None:
    server.cuts = [1000] * TRIES
    told = refusal(SourceError, tmp_path, train)
    assert f"broke {TRIES} times" in told
    assert "put a copy of train.zip" in told
    assert tree(tmp_path) == {"train.zip.part": server.files["train.zip"][: 1000 * TRIES]}
    fetch(tmp_path, [train])
    assert server.asked[-1] == ("train.zip", 1000 * TRIES)
    assert tree(tmp_path) == wanted(server)


def test_no_server_is_told_in_one_line(server: Server, train: Archive, tmp_path: Path) -> None:
    with Server() as closed:
        port = closed.server_port
    assert "refused" in refusal(SourceError, tmp_path, replace(train, url=f"http://127.0.0.1:{port}/train.zip"))


def test_a_missing_file_is_not_asked_for_again(server: Server, train: Archive, tmp_path: Path) -> None:
    assert "404" in refusal(SourceError, tmp_path, replace(train, url=train.url + ".gone"))
    assert len(server.asked) == 1
    assert not list(tmp_path.iterdir())


def test_a_wrong_checksum_leaves_nothing_and_the_next_call_starts_anew(server: Server, train: Archive, tmp_path: Path) -> None:
    right = server.files["train.zip"]
    server.files["train.zip"] = right[:-1] + b"!"
    assert train.md5 in refusal(DataError, tmp_path, train)
    assert not list(tmp_path.iterdir())
    server.files["train.zip"] = right
    fetch(tmp_path, [train])
    assert server.asked == [("train.zip", 0)] * 2
    assert tree(tmp_path) == wanted(server)


def test_a_part_of_another_file_is_found_by_the_checksum(server: Server, train: Archive, tmp_path: Path) -> None:
    (tmp_path / "train.zip.part").write_bytes(b"x" * 700)
    refusal(DataError, tmp_path, train)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["train.zip", "train.zip.part"], ids=["brought by hand", "killed before it was renamed"])
def test_a_whole_archive_that_is_there_is_not_downloaded(server: Server, train: Archive, tmp_path: Path, name: str) -> None:
    whole = server.files["train.zip"]
    (tmp_path / name).write_bytes(whole)
    fetch(tmp_path, [train])
    assert server.asked == ([] if name == "train.zip" else [("train.zip", len(whole))])
    assert tree(tmp_path) == wanted(server)


@pytest.mark.parametrize("name", ["../out", "GTSRB/Training/../../../out", "/out", "..\\out", "\\out", "C:out", "C:\\out"])
def test_a_zip_that_leaves_its_folder_is_refused_whole(server: Server, tmp_path: Path, name: str) -> None:
    archive = server.archive(zipped({"GTSRB/Training/00000/GT-00000.csv": "", name: "gotcha"}))
    assert repr(name) in refusal(DataError, tmp_path / "dest", archive)
    assert list(tree(tmp_path)) == ["dest/train.zip"]


@pytest.mark.parametrize("kind", [0o120777, 0o010666], ids=["link", "pipe"])
def test_a_zip_with_more_than_files_and_folders_is_refused(server: Server, tmp_path: Path, kind: int) -> None:
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w") as content:
        odd = zipfile.ZipInfo("GTSRB/Training/odd")
        odd.create_system, odd.external_attr = 3, kind << 16
        content.writestr("GTSRB/Training/00000/GT-00000.csv", "")
        content.writestr(odd, "/etc")
    assert "odd" in refusal(DataError, tmp_path, server.archive(blob.getvalue()))
    assert list(tree(tmp_path)) == ["train.zip"]


@pytest.mark.parametrize("damaged", [train_zip()[:9000], train_zip()[:2000] + bytes(64) + train_zip()[2064:], b""], ids=["cut", "overwritten", "empty"])
def test_a_damaged_zip_is_refused(server: Server, tmp_path: Path, damaged: bytes) -> None:
    assert "damaged" in refusal(DataError, tmp_path, server.archive(damaged))
    assert list(tree(tmp_path)) == ["train.zip"]


def test_a_zip_of_something_else_is_refused(server: Server, tmp_path: Path) -> None:
    assert "GTSRB/Training" in refusal(DataError, tmp_path, server.archive(zipped({"GTSRB/Other/a": "a"})))


def test_too_little_room_is_told_before_anything_is_asked(server: Server, train: Archive, tmp_path: Path) -> None:
    told = refusal(OutputError, tmp_path, train, replace(train, place="elsewhere", room_mib=10**12))
    assert f"{10**12 + 1} MiB" in told
    assert not server.asked


def test_a_disk_that_fills_while_it_downloads_keeps_what_came(server: Server, train: Archive, tmp_path: Path) -> None:
    with small_disk(8192):
        assert "system refused" in refusal(OutputError, tmp_path, train)
    assert len(server.asked) == 1
    fetch(tmp_path, [train])
    assert server.asked[1] == ("train.zip", 8192)
    assert tree(tmp_path) == wanted(server)


def test_a_disk_that_fills_while_it_unpacks_leaves_nothing_half(server: Server, tmp_path: Path) -> None:
    archive = server.archive(zipped({"GTSRB/Training/a": "a", "GTSRB/Training/big": bytes(1 << 20)}))
    with small_disk(1 << 16):
        assert "system refused" in refusal(OutputError, tmp_path, archive)
    assert list(tree(tmp_path)) == ["train.zip"]
    fetch(tmp_path, [archive])
    assert len(server.asked) == 1
    assert tree(tmp_path) == wanted(server)


def test_a_file_where_the_folder_should_be_is_refused(train: Archive, tmp_path: Path) -> None:
    (tmp_path / "dest").write_text("")
    assert "dest" in refusal(OutputError, tmp_path / "dest", train)


def test_what_a_killed_call_left_is_not_taken_in(server: Server, train: Archive, tmp_path: Path) -> None:
    stray = tmp_path / ".train.zip.unpacking" / "GTSRB" / "Training" / "00000" / "stray"
    stray.parent.mkdir(parents=True)
    stray.write_text("half")
    fetch(tmp_path, [train])
    assert tree(tmp_path) == wanted(server)


def test_ctrl_c_leaves_what_the_next_call_goes_on_from(server: Server, train: Archive, tmp_path: Path) -> None:
    server.cuts = [70_000]
    server.drops.clear()
    archive = server.archive(zipped({"GTSRB/Training/noise": np.random.default_rng(0).bytes(200_000)}))
    script = "import sys; from pathlib import Path; from train.fetch import Archive, fetch; fetch(Path(sys.argv[1]), [Archive(*sys.argv[2:6], 1)])"
    argv = [sys.executable, "-c", script, str(tmp_path), archive.url, archive.md5, archive.inside, archive.place]
    running = started(argv, ROOT)
    part = tmp_path / "train.zip.part"
    while not (part.is_file() and part.stat().st_size):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    told = running.communicate(timeout=60)[1]
    assert "KeyboardInterrupt" in told
    assert list(tree(tmp_path)) == ["train.zip.part"]
    came = part.stat().st_size
    server.drops.set()
    fetch(tmp_path, [archive])
    assert server.asked == [("train.zip", 0), ("train.zip", came)]
    assert tree(tmp_path) == wanted(server)


def command(*argv: object) -> int:
    return cli.main(_parser(), ["fetch", *(str(part) for part in argv)])


def test_the_command_says_where_the_data_is_when_it_is_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for archive in GTSRB[:2]:
        (tmp_path / archive.place).mkdir(parents=True)
    (tmp_path / GTSRB[2].place).write_text("")
    assert command("gtsrb", tmp_path) == 0
    assert str(tmp_path) in capsys.readouterr().out


def test_the_command_takes_no_archive_but_the_official_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / GTSRB[0].name).write_bytes(train_zip())
    assert command("gtsrb", tmp_path) == 1
    told = capsys.readouterr().err
    assert told.startswith("python -m train: wanted GTSRB-Training_fixed.zip with MD5 513f3c79a4c5141765e10e952eaa2478")
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_data_set_of_another_name_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command("mnist", tmp_path)
    assert left.value.code == 2
    assert "gtsrb" in capsys.readouterr().err
