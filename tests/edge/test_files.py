"""Files that are the old one or the new one, and nothing beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.errors import OutputError, SourceError
from edge.files import check_place, sha256_of, write_json, write_text, written_beside


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
