"""The live map beside the picture: hidden until a place is known, then the way, the drone, and each sign once, whatever is told of it later."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from browser import PROGRAM, Browser
from web_client import result, serving

from edge.geometry.geodesy import Plane
from edge.geometry.pose import Place, Pose
from edge.result import Report

if PROGRAM is None:
    pytest.skip("no Chromium here (Debian, Ubuntu: apt install chromium)", allow_module_level=True)

PLANE = Plane(48.0, 11.0)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile", 1280, 800) as opened:
        yield opened


def test_it_grows_with_the_flight(browser: Browser, tmp_path: Path) -> None:
    def flown(step: int, *told: tuple[str, int, float]):
        """A frame 10 m further north, with reports of tracks whose sign stands so far ahead."""
        seen = result(step)
        lat, lon = PLANE.degrees(0.0, 10.0 * step)
        reports = [Report(event, track, 14, 0.98, (10, 10, 50, 50), where=Place(*PLANE.degrees(8.0, north), 2.0, 1.0, 180.0)) for event, track, north in told]
        return replace(seen, frame=replace(seen.frame, pose=Pose(lat=lat, lon=lon, alt_m=8.0, yaw_deg=0.0)), reports=reports)

    with serving() as (sink, _):
        sink.write(result(0))
        browser.open(sink.url)
        browser.wait("document.getElementById('total').textContent")
        assert browser.run("document.getElementById('map').hidden")
        sink.write(flown(1, ("sighting", 1, 60.0)))
        browser.wait("document.querySelectorAll('#map .spot').length === 1")
        assert browser.run("!document.getElementById('map').hidden")
        sink.write(flown(2, ("update", 1, 62.0), ("sighting", 2, 90.0)))
        browser.wait("document.querySelectorAll('#map .spot').length === 2")
        sink.write(flown(4, ("gone", 1, 63.0), ("gone", 2, 90.0)))
        browser.wait("document.querySelector('#map polyline').getAttribute('points').split(' ').length === 3")
        circles = browser.run("[...document.querySelectorAll('#map .within')].map((node) => ['cx', 'cy', 'r'].map((name) => Number(node.getAttribute(name))))")
        (x, y, radius), (_, other, _) = circles
        assert (x, y, radius) == (pytest.approx(8.0, abs=0.1), pytest.approx(-53.0, abs=0.2), pytest.approx(2.45, abs=0.01))
        assert other == pytest.approx(-80.0, abs=0.2)
        assert browser.run("document.querySelector('#map title').textContent").startswith("Stop, within 2.5 m")
        assert browser.run("document.querySelector('#map .note').textContent").startswith("2 signs placed")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        browser.open(sink.url)  # who comes later sees the way from its beginning, too
        browser.wait("document.querySelector('#map polyline')?.getAttribute('points').split(' ').length === 3")
        browser.screenshot(Path(os.environ.get("SIGNWING_SCREENSHOTS") or tmp_path) / "live-map.png")
