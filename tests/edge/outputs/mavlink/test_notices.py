"""Texts for a pilot: their length, their rate, and what a storm of signs leaves."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest

from edge.datasets.gtsrb import LABELS
from edge.errors import MissingDependency
from edge.outputs.mavlink.notices import FRESH_S, KEPT, MOST_CHARACTERS, Notice, Notices, plain, text_of


def notice(class_id: int = 14, at_s: float = 0.0, confidence: float = 0.98) -> Notice:
    return Notice(class_id, LABELS[class_id], confidence, at_s)


def test_a_text_names_the_sign() -> None:
    assert text_of(notice()) == "SIGN 14 Stop 98%"
    assert text_of(notice(), 3) == "SIGN 14 Stop 98% +3"


@pytest.mark.parametrize("class_id", range(len(LABELS)))
def test_no_text_is_too_long_or_loses_its_end(class_id: int) -> None:
    text = text_of(notice(class_id, confidence=1.0), 123456)
    assert len(text.encode("ascii")) <= MOST_CHARACTERS
    assert text.endswith(" 100% +999")


@pytest.mark.parametrize("label", ["x" * 200, "Überholverbot für Züge", "急カーブ", "tab\tline\nbell\a\0", ""])
def test_any_label_becomes_a_text(label: str) -> None:
    pytest.importorskip("anyascii", reason="the extra mavlink is not installed")
    text = text_of(Notice(3, plain(label), 0.5, 0.0))
    assert 0 < len(text.encode("ascii")) <= MOST_CHARACTERS
    assert text.isprintable()


def test_letters_lose_their_accents_and_other_scripts_are_told_as_they_sound() -> None:
    pytest.importorskip("anyascii", reason="the extra mavlink is not installed")
    assert plain("Überholverbot für Züge ~") == "Uberholverbot fur Zuge ~"
    assert plain("Рыбалка запрещена") == "Rybalka zapreshchena"
    assert plain("前方学校") == "QianFangXueXiao"
    assert text_of(Notice(999, plain("注意野生动物"), 0.99, 0.0)) == "SIGN 999 ZhuYiYeShengDongWu 99%"


def test_without_what_knows_other_scripts_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anyascii", None)
    assert [plain(label) for label in LABELS] == list(LABELS)
    with pytest.raises(MissingDependency, match=r"wanted anyascii to tell '学校' by --mavlink, found none: .*pip install .*anyascii"):
        plain("学校")


def test_of_a_storm_one_a_second_is_told_the_newest_and_the_rest_counted() -> None:
    notices, told, given = Notices(), [], 0
    for step in range(300):
        now = step / 30
        for class_id in (step % 43, (step + 1) % 43):
            notices.add(notice(class_id, now))
            given += 1
        due = notices.due(now)
        if due is not None:
            told.append((now, *due))
    assert len(told) == 10
    assert all(later[0] - sooner[0] >= 1.0 for sooner, later in pairwise(told))
    assert all(now - each.at_s < 0.2 for now, each, _ in told)
    others = [int(text.partition("+")[2] or 0) for _, _, text in told]
    assert sum(others) + len(told) == pytest.approx(given, abs=60 + KEPT)


def test_a_few_signs_are_all_told_in_their_order() -> None:
    notices = Notices()
    for class_id in (14, 3, 17):
        notices.add(notice(class_id, 0.0))
    told = [due for step in range(40) if (due := notices.due(step / 10)) is not None]
    assert [each.class_id for each, _ in told] == [14, 3, 17]
    assert not any("+" in text for _, text in told)


def test_what_waited_too_long_is_not_told_as_if_it_were_new() -> None:
    notices = Notices()
    notices.add(notice(14, 0.0))
    assert notices.due(FRESH_S + 0.1) is None
    notices.add(notice(3, FRESH_S + 1))
    due = notices.due(FRESH_S + 1)
    assert due is not None
    assert due[1].endswith("% +1")
