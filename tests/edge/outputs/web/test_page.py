"""The page as a browser shows it: the picture moves, sightings come, plots fill, keys work, text can be read, and the console is silent."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("prometheus_client", reason="the extra web is not installed")

from browser import PROGRAM, Browser
from packets import wait_for
from web_client import Feeding, Losses, result, serving

from edge.frame import FeedState

if PROGRAM is None:
    pytest.skip("no Chromium here (Debian, Ubuntu: apt install chromium)", allow_module_level=True)

TOKEN = "correct-horse-battery-staple"
SHOWN = "document.querySelectorAll('#sightings li').length"
POINTS = "[...document.querySelectorAll('.sheet:not([hidden]) path.first')].map((path) => path.getAttribute('d').split('L').length)"
# Of each text its contrast with what is behind it, by WCAG 2.2's formula.
CONTRASTS = """(() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (node) => { for (let at = node; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor); if (colour.length === 3 || colour[3] === 1) return colour; } return [255, 255, 255]; };
  const said = (node) => node.checkVisibility() && !node.closest('#signal, noscript') && [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
  return [...document.querySelectorAll('body *')].filter(said).map((node) => {
    const style = getComputedStyle(node), svg = node.namespaceURI.endsWith('svg');
    const ink = light(parse(svg ? style.fill : style.color)), ground = light(behind(node));
    return [(Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05), node.tagName, node.textContent.trim().slice(0, 30)];
  });
})()"""


DRAWN = """(() => { const all = document.getElementById('frame').getBoundingClientRect();
  const names = [...document.querySelectorAll('#frame .names span')], places = names.map((name) => name.getBoundingClientRect());
  return names.length && { names: names.map((name) => name.textContent), boxes: document.querySelectorAll('#frame .boxes .sign').length,
    sizes: names.map((name) => parseFloat(getComputedStyle(name).fontSize)),
    inside: places.every((at) => at.left >= all.left && at.right <= all.right && at.top >= all.top && at.bottom <= all.bottom) }; })()"""
SHARE = """(() => { const box = document.querySelector('#whole polygon').getBBox(), all = document.getElementById('whole').clientWidth;
  return [box.x / all, box.width / all]; })()"""
# Lines of text that each tile's value takes, its note aside.
ROWS_OF_VALUES = """Object.fromEntries([...document.querySelectorAll('#tiles div')].map((tile) => {
  const text = document.createRange(); text.selectNode(tile.querySelector('dd').firstChild);
  return [tile.querySelector('dt').textContent, new Set([...text.getClientRects()].map((line) => line.top)).size]; }))"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: a folder of one's own choice, to look at them."""
    chosen = os.environ.get("SIGNWING_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(params=["desktop", "phone", "dark"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Browser]:
    sizes = {"desktop": (1280, 800), "phone": (390, 844), "dark": (1024, 700)}
    width, height = sizes[request.param]
    with Browser(tmp_path / "profile", width, height, phone=request.param == "phone", dark=request.param == "dark") as opened:
        yield opened


def test_the_page_lives(browser: Browser, pictures: Path, request: pytest.FixtureRequest) -> None:
    with serving() as (sink, _), Feeding(sink, (960, 540)):
        browser.open(sink.url)
        browser.wait(f"{SHOWN} > 2")
        assert browser.wait("document.getElementById('state').textContent") == "live"
        first = browser.wait("document.getElementById('picture').src.startsWith('blob:') && document.getElementById('picture').src")
        browser.wait(f"document.getElementById('picture').src !== {first!r}")
        browser.wait("document.getElementById('picture').naturalWidth === 960")
        browser.wait("[...document.querySelectorAll('#sightings a img')].slice(0, 3).every((image) => image.naturalWidth === 39)")
        browser.wait("[...document.querySelectorAll('#sightings .face')].slice(0, 3).every((image) => image.checkVisibility() && image.naturalWidth === 80)")
        points = browser.run(POINTS)
        assert len(points) >= 4
        browser.wait(f"{POINTS}.every((count, place) => count > {points}[place] + 1)")
        assert "FPS" in browser.run("document.getElementById('tiles').innerText")
        # Nothing stands out to the side.
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        contrasts = browser.run(CONTRASTS)
        assert len(contrasts) > 25
        assert not [each for each in contrasts if each[0] < 4.5]
        browser.screenshot(pictures / f"{request.node.callspec.params['browser']}.png")
        # Names are text of the browser's, as large on a phone as on a desk, and stay within the picture.
        drawn = browser.wait(DRAWN)
        assert drawn["names"] == ["Stop 98 %"]
        assert drawn["sizes"][0] >= 13
        assert drawn["inside"]
        assert drawn["boxes"] == 1
        assert "may be a sign" in browser.run("document.getElementById('legend').innerText")
        assert browser.run("[...document.querySelectorAll('.sheet:not([hidden])')].map((sheet) => sheet.querySelectorAll('figcaption .second').length)")[1] == 1
        assert browser.run(ROWS_OF_VALUES)["Engine"] == 1
        assert max(browser.run(ROWS_OF_VALUES).values()) == 1
    # The run is over: that is no alarm, and what was seen stays.
    assert browser.wait("document.getElementById('state').textContent") == "ended"
    assert re.fullmatch(r"flight ended: \d+ signs", browser.run("document.getElementById('ended').textContent"))
    assert browser.run("document.getElementById('ended').checkVisibility() && !document.getElementById('alert').checkVisibility()")
    assert browser.run(f"{SHOWN} > 2 && !document.getElementById('signal').checkVisibility()")
    browser.screenshot(pictures / f"{request.node.callspec.params['browser']}-ended.png")
    assert not [said for said in browser.said if "net::ERR_" not in said]


def test_a_run_that_fails_is_an_alarm(tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        with suppress(InterruptedError), serving() as (sink, _), Feeding(sink):
            browser.open(sink.url)
            browser.wait(f"{SHOWN} > 1")
            raise InterruptedError
        browser.wait("document.getElementById('alert').checkVisibility()")
        assert browser.run("document.getElementById('alert').textContent").startswith("flight failed: ")


def test_a_crop_follows_updates_and_a_click_shows_the_whole_frame(tmp_path: Path, pictures: Path) -> None:
    crop = "document.querySelector('#sightings img')"
    with serving() as (sink, _), Browser(tmp_path / "profile", 390, 844, phone=True) as browser:
        seen = result(3, 14, size_wh=(640, 360))
        sink.write(seen)
        browser.open(sink.url)
        browser.wait(f"{SHOWN} === 1 && {crop}.naturalWidth === 39")
        better = replace(seen.reports[0], event="update", class_id=13, box_xyxy=(200.0, 100.0, 280.0, 180.0))
        sink.write(replace(result(40, size_wh=(640, 360)), reports=[better]))
        browser.wait(f"{crop}.naturalWidth === 104 && document.querySelector('#sightings strong').textContent === 'Yield'")
        assert browser.run(f"{SHOWN}") == 1
        browser.run(f"{crop}.click()")
        browser.wait("document.getElementById('sight').open && document.getElementById('whole-picture').naturalWidth === 640")
        browser.wait("document.querySelector('#whole .names span')?.textContent === 'Yield 98 %'")
        # The box lies where the sign is.
        share = browser.run(SHARE)
        assert share == pytest.approx([200 / 640, 80 / 640], abs=0.01)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth && document.getElementById('whole').getBoundingClientRect().right <= innerWidth")
        browser.screenshot(pictures / "whole.png")
        browser.press("Escape")
        browser.wait("!document.getElementById('sight').open")
        assert not browser.said


def test_events_can_be_downloaded_when_the_run_is_over_too(tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.downloads(tmp_path / "downloads")
        with serving() as (sink, _):
            browser.open(sink.url)
            browser.wait("document.getElementById('state').textContent === 'live'")
            assert browser.run("document.getElementById('download').disabled")
            for index in range(9):
                sink.write(result(index, 14))
        browser.wait("document.getElementById('state').textContent === 'ended' && !document.getElementById('download').disabled")
        browser.run("document.getElementById('download').click()")
        saved = tmp_path / "downloads" / "events.jsonl"
        wait_for(saved.is_file, "the download")
        assert [json.loads(line)["frame"] for line in saved.read_text().splitlines()] == list(range(9))


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (844, 390), (390, 844), (1000, 700)])
def test_no_value_is_broken_and_nothing_stands_out_at_any_width(tmp_path: Path, width: int, height: int) -> None:
    with serving() as (sink, _), Feeding(sink, (960, 540)), Browser(tmp_path / "profile", width, height, phone=width < 1000) as browser:
        browser.open(sink.url)
        browser.wait("document.getElementById('tiles').innerText.includes('onnxruntime')")
        assert set(browser.run(ROWS_OF_VALUES).values()) == {1}
        assert browser.run("[...document.querySelectorAll('dd')].every((value) => value.scrollWidth <= value.clientWidth)")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_keys_reach_everything_and_what_has_the_focus_shows(tmp_path: Path) -> None:
    with serving() as (sink, _), Feeding(sink), Browser(tmp_path / "profile") as browser:
        browser.open(sink.url)
        browser.wait(f"{SHOWN} > 1 && !document.getElementById('download').disabled")
        reached = []
        for _ in range(5):
            browser.press("Tab")
            reached.append(browser.run("document.activeElement.id || document.activeElement.tagName"))
            assert browser.run("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
        assert reached[:4] == ["pause", "download", "sightings", "A"]
        browser.run("document.getElementById('pause').focus()")
        browser.press("Enter")
        assert browser.run("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
        # One that was on its way may still come.
        seen = [browser.run("new Promise((done) => setTimeout(() => done(document.getElementById('picture').src), 1000))") for _ in range(4)]
        assert len(set(seen[1:])) == 1
        assert not browser.said


def test_with_the_token_in_a_browsers_own_way_all_of_it_works(tmp_path: Path) -> None:
    with serving(TOKEN) as (sink, _), Feeding(sink), Browser(tmp_path / "profile") as browser:
        browser.headers(Authorization=f"Basic {b64encode(f'pilot:{TOKEN}'.encode()).decode()}")
        browser.open(sink.url)
        browser.wait(f"{SHOWN} > 1")
        browser.wait("document.getElementById('picture').src.startsWith('blob:')")
        assert not browser.said


def test_user_and_token_may_stand_in_the_address(tmp_path: Path) -> None:
    with serving(TOKEN) as (sink, _), Feeding(sink), Browser(tmp_path / "profile") as browser:
        browser.open(sink.url.replace("http://", f"http://pilot:{TOKEN}@"))
        browser.wait(f"{SHOWN} > 1")
        browser.wait("document.getElementById('picture').src.startsWith('blob:')")
        browser.wait("[...document.querySelectorAll('#sightings img')].slice(0, 2).every((image) => image.naturalWidth)")
        assert not browser.said


def test_a_feed_without_signal_says_so_over_the_picture_until_it_is_back(tmp_path: Path) -> None:
    source = Losses(live=True, feed=FeedState("lost", 0, 40, 7, 3, 2, "opens RTP on port 5600"))
    shown = "document.getElementById('signal')"
    with serving(source=source) as (sink, _), Browser(tmp_path / "profile") as browser:
        browser.open(sink.url)
        browser.wait(f"{shown}.checkVisibility() && {shown}.textContent === 'No signal: lost. opens RTP on port 5600'")
        assert browser.run("document.getElementById('state').textContent") == "lost"
        assert browser.run("document.getElementById('none').checkVisibility()")
        source.feed = FeedState("live", 0, 41, 7, 3, 3, "")
        browser.wait(f"!{shown}.checkVisibility() && document.getElementById('tiles').innerText.includes('3 reconnects')")
        assert not browser.said
