"""The map's page in a browser without a network: all signs stand on it, the list finds one, and nothing is asked of anybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import PROGRAM, Browser

from edge.geometry.geodesy import Plane
from edge.geometry.pose import Place
from edge.mapping.map_page import write_page
from edge.mapping.merge import Sign
from edge.mapping.sightings import FlightSeen, Seen

PLANE = Plane(48.0, 11.0)
LABELS = ("Stop", "Yield", "<b>odd</b>")


def page(path: Path, tiles: str | None = None) -> str:
    signs = []
    for number, label in enumerate(LABELS):
        place = Place(*PLANE.degrees(20.0 * number, 10.0), 2.0, 1.0, 180.0 if number else None)
        seen = Seen(0, number, number, label, 0.9, place, 3, 30, "1.0 s", "2.0 s")
        signs.append(Sign(f"S{number + 1}", number, label, place, 0.9, [seen], "gone" if number == 1 else "seen"))
    flight = FlightSeen("e.jsonl", Path(), way=[(float(second), *PLANE.degrees(5.0 * second, 0), 90.0) for second in range(10)])
    write_page(path, signs, [flight], {"Stop": b"\x89PNG", "Other": b"no one asked"}, tiles)
    return path.as_uri()


def test_it_works_without_a_network(tmp_path: Path) -> None:
    if PROGRAM is None:
        pytest.skip("no Chromium here")
    with Browser(tmp_path / "profile") as browser:
        browser.open(page(tmp_path / "map.html"))
        assert browser.run("document.querySelectorAll('#list li').length") == 3
        assert browser.run("document.querySelectorAll('#map > svg .way').length") == 1
        assert browser.run("[...document.querySelectorAll('#legend li')].map((row) => row.textContent)") == [
            "a flight's way",
            "where a sign faces",
            "it stands within, 95%",
            "gone",
        ]
        assert browser.run("document.querySelectorAll('#map > svg .ring').length") == 1
        assert browser.run("document.getElementById('sum').textContent").startswith("3 signs: 1 gone; 1 flight")
        browser.run("const find = document.getElementById('find'); find.value = 'yield'; find.dispatchEvent(new Event('input')); 0")
        assert browser.run("[...document.querySelectorAll('#list li')].filter((row) => !row.hidden).length") == 1
        browser.run("document.querySelector('#list li:not([hidden]) button').click(); 0")
        assert "S2" in browser.run("document.querySelector('[aria-current=true]').textContent")
        assert browser.run("document.querySelectorAll('#list b b').length") == 0  # a label is text, never markup
        assert browser.run("performance.getEntriesByType('resource').filter((one) => !one.name.startsWith('data:')).length") == 0
        assert [line for line in browser.said if "data:image/png" not in line] == []


def test_tiles_are_asked_for_where_the_user_says(tmp_path: Path) -> None:
    assert '"tiles": null' in Path(page(tmp_path / "a.html").removeprefix("file://")).read_text(encoding="utf-8")
    assert '"tiles": "https://t/{z}/{x}/{y}.png"' in Path(page(tmp_path / "b.html", "https://t/{z}/{x}/{y}.png").removeprefix("file://")).read_text(
        encoding="utf-8"
    )
