"""The review as a browser shows it and keys and thumbs work it: what is judged is kept at once, and makes data sets that training reads."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from browser import PROGRAM, Browser
from commands import command, started
from packets import wait_for

from edge.datasets.gtsrb import LABELS
from edge.drawn.scenes import Flight
from edge.drawn.signs import draw_sign
from edge.outputs.keep.store import Store

ROOT = Path(__file__).resolve().parents[4]
RUN = "20310506T070809Z-0000ab"
STOP, YIELD, THIRTY = 14, 13, 1
chromium = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here (Debian, Ubuntu: apt install chromium)")


def keep(folder: Path, number: int, votes: list[tuple[int, int]], telling: float, others: float | None = 0.97, views: int = 2) -> str:
    """Keep an item as a run does: a drawn frame, with the sign where it is said to be."""
    name, told, pictures = f"{RUN}-{number:04d}", [], {}
    for view in range(1, views + 1):
        frame, side = Flight(seed=number, size_wh=(960, 540)).frame(10 * view).image.copy(), 130 - 40 * view
        x, y = 300 + 20 * number, 150
        for class_id, at in ((votes[0][0], x), (THIRTY, 700)):
            drawn = draw_sign(class_id, side).astype(np.float32)
            alpha = drawn[:, :, 3:] / 255
            part = frame[y : y + side, at : at + side]
            part[:] = (part * (1 - alpha) + drawn[:, :, :3] * alpha).astype(np.uint8)
        stem, box = f"{name}-{view}", [x, y, x + side, y + side]
        pictures[f"{stem}.jpg"] = cv2.imencode(".jpg", frame)[1].tobytes()
        pictures[f"{stem}.png"] = cv2.imencode(".png", frame[y - 9 : y + side + 9, x - 9 : x + side + 9])[1].tobytes()
        named = {"class_id": votes[0][0], "label": LABELS[votes[0][0]], "confidence": 0.6}
        other = {"box_xyxy": [700, y, 700 + side, y + side], "class_id": THIRTY, "label": LABELS[THIRTY], "confidence": others}
        about = {"size_wh": [960, 540], "frame": 10 * view, "time": "2031-05-06T07:08:09.000Z", "pose": {"lat": 52.1, "lon": 10.2, "alt_m": 20.0}, "score": 0.9}
        told.append({"picture": f"{stem}.jpg", "crop": f"{stem}.png", "box_xyxy": box, **named, **about, "others": [] if others is None else [other]})
    counted = [{"class_id": class_id, "label": LABELS[class_id], "count": count, "confidence": 0.6} for class_id, count in votes]
    why = [f"named {LABELS[votes[0][0]]} with 60% on average"]
    item = {"telling": telling, "reasons": ["unsure"], "why": why, "votes": counted, "labels": list(LABELS), "views": told}
    with Store(folder, 64 << 20) as store:
        store.put(name, item, pictures)
    return name


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Four items: the first is the most telling."""
    folder = tmp_path / "kept"
    keep(folder, 1, [(YIELD, 5), (STOP, 3), (12, 1)], 0.9)
    keep(folder, 2, [(THIRTY, 4)], 0.7, others=None)
    keep(folder, 3, [(STOP, 4)], 0.5, others=0.6, views=1)
    keep(folder, 4, [(2, 4), (5, 2)], 0.3, views=1)
    return folder


@contextmanager
def reviewing(folder: Path, *options: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    running = started(command("review", folder, *options), ROOT)
    try:
        assert running.stdout is not None
        said = [running.stdout.readline() for _ in range(2)]
        assert said[1].startswith("page"), [*said, running.stderr and running.stderr.read()]
        yield said[1].split()[1], running
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)


def judged(folder: Path) -> dict[str, str]:
    told = json.loads((folder / "reviewed" / "judged.json").read_text(encoding="utf-8"))
    return {name[-1]: said["label"] for name, said in told["items"].items()}


def photos(folder: Path) -> set[str]:
    found = {path.relative_to(folder / "reviewed").as_posix().replace(f"{RUN}-000", "") for path in (folder / "reviewed").rglob("*.png")}
    assert all(cv2.imread(str(path)) is not None for path in (folder / "reviewed").rglob("*.png"))
    return found


def frames(folder: Path) -> dict[str, list[str]]:
    path = folder / "reviewed-frames" / "annotations.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"images": [], "annotations": [], "categories": []}
    names = {each["id"]: each["name"] for each in told["categories"]}
    assert {each["file_name"] for each in told["images"]} == {each.name for each in (folder / "reviewed-frames/images").glob("*")}
    return {image["file_name"][-5]: [names[each["category_id"]] for each in told["annotations"] if each["image_id"] == image["id"]] for image in told["images"]}


def ask(url: str, path: str, body: Any = None, **headers: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}{path}", data, {"content-type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read() or b"null")


def status(url: str, path: str, data: bytes | None = None, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}{path}", data, headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


ALL = "document.getElementById('done').checkVisibility() && document.getElementById('done-title').textContent === 'All is judged'"
QUESTION = "(document.getElementById('work').checkVisibility() ? document.getElementById('question').textContent : '')"


@chromium
@pytest.mark.parametrize("size", ["desktop", "phone", "dark"])
def test_the_page_shows_a_sign_large_in_its_frame_and_fits(kept: Path, tmp_path: Path, size: str) -> None:
    chosen = os.environ.get("SIGNWING_SCREENSHOTS")
    pictures = Path(chosen) if chosen else tmp_path
    width, height = {"desktop": (1280, 800), "phone": (390, 844), "dark": (1024, 700)}[size]
    with reviewing(kept) as (url, _), Browser(tmp_path / "profile", width, height, phone=size == "phone", dark=size == "dark") as browser:
        browser.open(url)
        browser.wait(f"{QUESTION} === 'Is this “Yield”?'")
        browser.wait("document.getElementById('crop-picture').naturalWidth > 50 && document.getElementById('picture').naturalWidth === 960")
        browser.wait("document.querySelectorAll('#frame .sign').length === 1 && document.querySelectorAll('#frame .unsure').length === 1")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.run("document.getElementById('crop').clientHeight") >= 200
        boxes = browser.run(
            "[...document.querySelectorAll('nav button')].filter((node) => node.checkVisibility())"
            ".map((node) => node.getBoundingClientRect()).map((box) => [box.height, box.bottom])"
        )
        assert len(boxes) == 7
        assert min(box[0] for box in boxes) >= 44
        assert max(box[1] for box in boxes) <= height  # the thumb reaches all of them, without scrolling
        browser.screenshot(pictures / f"review-{size}.png")
        browser.click("document.querySelectorAll('#thumbs button')[1]")
        browser.wait("document.getElementById('about').textContent.startsWith('frame 20')")
        browser.click("document.getElementById('other')")
        browser.wait("document.getElementById('choose').open")
        browser.screenshot(pictures / f"review-{size}-choose.png")
        assert not browser.said


@chromium
def test_keys_judge_and_undo_and_what_is_said_is_kept_at_once(kept: Path, tmp_path: Path) -> None:
    with reviewing(kept) as (url, running), Browser(tmp_path / "profile") as browser:
        browser.open(url)
        browser.wait(f"{QUESTION}.includes('Yield')")
        browser.press("2")  # the runner-up
        browser.wait(f"{QUESTION}.includes('Speed limit 30')")
        assert judged(kept) == {"1": "Stop"}
        assert photos(kept) == {"Stop/1/1.png", "Stop/1/2.png"}
        browser.press("u")
        browser.wait(f"{QUESTION}.includes('Yield')")
        assert (judged(kept), photos(kept), frames(kept)) == ({}, set(), {})
        browser.press("Enter")
        browser.wait(f"{QUESTION}.includes('Speed limit 30')")
        browser.press("n")
        browser.wait(f"{QUESTION}.includes('Stop')")
        assert judged(kept) == {"1": "Yield", "2": ""}
        assert frames(kept) == {"1": ["Yield", "Speed limit 30"], "2": []}
        browser.press("s")
        browser.wait(f"{QUESTION}.includes('Speed limit 50')")
        browser.press("c")
        browser.wait("document.activeElement.id === 'typed'")
        for letter in "keep l":
            browser.press(letter)
        browser.wait("document.querySelector('#names button').textContent === 'Keep left'")
        browser.press("Enter")
        browser.wait("document.getElementById('done-title').textContent === '1 item skipped'")
        assert judged(kept) == {"1": "Yield", "2": "", "4": "Keep left"}
        running.send_signal(signal.SIGKILL)
        running.wait()
    with reviewing(kept) as (url, running), Browser(tmp_path / "again") as browser:
        browser.open(url)
        browser.wait(f"{QUESTION} === 'Is this “Stop”?'")  # what was skipped is all that is left
        assert browser.run("document.getElementById('progress').textContent") == "3 of 4 judged"
        browser.press("c")
        browser.wait("document.activeElement.id === 'typed'")
        for letter in "Halt":
            browser.press(letter)
        browser.wait("document.querySelector('#names button').textContent.startsWith('A new class')")
        browser.press("Enter")
        browser.wait(ALL)
        assert "signwing train fit --add" in browser.run("document.getElementById('next').textContent")
        browser.press("u")
        browser.wait(f"{QUESTION}.includes('Stop')")
        browser.click("document.getElementById('nosign')")
        browser.wait(ALL)
        browser.press("u")  # nothing of a button that was clicked stays in the way of keys
        browser.wait(f"{QUESTION}.includes('Stop')")
        browser.press("Enter")
        browser.wait(ALL)
        browser.click("document.getElementById('end')")
        out, _ = running.communicate(timeout=20)
        assert running.returncode == 0
        assert "judged 4: 3 signs, 1 that are none" in out
        assert not [said for said in browser.said if "net::ERR_" not in said]
    assert judged(kept) == {"1": "Yield", "2": "", "3": "Stop", "4": "Keep left"}
    assert photos(kept) == {"Yield/1/1.png", "Yield/1/2.png", "none/2/1.png", "none/2/2.png", "Stop/3/1.png", "Keep left/4/1.png"}
    assert frames(kept) == {"1": ["Yield", "Speed limit 30"], "2": [], "4": ["Keep left", "Speed limit 30"]}  # in the third another sign may be named wrong


@chromium
def test_views_of_several_signs_are_called_mixed_and_teach_nothing(kept: Path, tmp_path: Path) -> None:
    path = kept / f"{RUN}-0001.json"
    told = json.loads(path.read_text())
    told["views"][1]["label"] = "Stop"
    path.write_text(json.dumps(told))
    with reviewing(kept) as (url, running), Browser(tmp_path / "profile") as browser:
        browser.open(url)
        browser.wait(f"{QUESTION}.includes('Yield')")
        browser.press("Enter")
        browser.wait(f"{QUESTION}.includes('Speed limit 30')")
        assert not browser.run("document.getElementById('mixed').checkVisibility()")
        browser.press("m")  # all its views are named alike
        browser.press("u")
        browser.wait(f"{QUESTION}.includes('Yield')")
        assert photos(kept) == set()
        browser.press("m")
        browser.wait(f"{QUESTION}.includes('Speed limit 30')")
        assert (judged(kept), photos(kept), frames(kept)) == ({"1": "mixed"}, set(), {})
        browser.open(url)
        browser.wait("document.getElementById('progress').textContent === '1 of 4 judged'")
        browser.click("document.getElementById('end')")
        out, _ = running.communicate(timeout=20)
    assert "judged 1: 0 signs, 0 that are none, 1 mixed" in out


def test_what_is_refused_and_what_others_may_not(kept: Path, tmp_path: Path) -> None:
    first = f"{RUN}-0001"
    with reviewing(kept) as (url, _):
        assert len(ask(url, "api/items")["items"]) == 4
        json_type = {"content-type": "application/json"}
        judging = json.dumps({"name": first, "label": "Stop"}).encode()
        assert status(url, "api/judge", judging) == 400  # as a form of another page would be sent
        assert status(url, "api/judge", judging, **json_type, origin="http://evil.example") == 400
        assert status(url, "api/judge", judging, **json_type, host="evil.example") == 400
        for body in (b"", b"{", b"[]", b'{"name": 1, "label": "x"}', b'{"name": "x", "label": "y"}', b"x" * 9000):
            assert status(url, "api/judge", body, **json_type) == 400
        for label in ("none", "None", "Mixed", "x" * 101):
            assert status(url, "api/judge", json.dumps({"name": first, "label": label}).encode(), **json_type) == 400
        assert status(url, "api/judge", None) == 405
        for path in (f"views/{first}/0.png", f"views/{first}/3.png", f"views/{first}/1.json", "views/..%2f..%2fetc/1.jpg", "views/x/1.png", "../judged.json"):
            assert status(url, path) == 404
        assert status(url, f"views/{first}/1.png") == 200
        assert not (kept / "reviewed" / "judged.json").exists()
        assert ask(url, "api/undo", {}) == {"signs": 0, "none": 0, "mixed": 0, "name": None}
        assert ask(url, "api/judge", {"name": first, "label": " a/b\\c "}) == {"signs": 1, "none": 0, "mixed": 0}
        assert judged(kept) == {"1": "a/b\\c"}
        assert len(photos(kept)) == 2
        assert ask(url, "api/judge", {"name": first, "label": ""}, origin=url.rstrip("/")) == {"signs": 0, "none": 1, "mixed": 0}
        assert photos(kept) == {"none/1/1.png", "none/1/2.png"}
        second = subprocess.run(command("review", kept), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert "another review" in second.stderr
    token = tmp_path / "token"
    token.write_text("correct-horse-battery")
    token.chmod(0o600)
    with reviewing(kept, "--web-token-file", token) as (url, _):
        assert status(url, "api/items") == 401
        assert len(ask(url, "api/items", authorization="Bearer correct-horse-battery")["items"]) == 4


def test_it_wants_items_and_passes_over_what_is_not_whole(kept: Path, tmp_path: Path) -> None:
    def refused(folder: Path, *options: str) -> str:
        done = subprocess.run(command("review", folder, *options), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr.count("python -m edge: wanted")) == (1, 1), done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    (tmp_path / "empty").mkdir()
    assert "found none" in refused(tmp_path / "empty")
    assert "found nothing" in refused(tmp_path / "nothing")
    assert "--web-token-file" in refused(kept, "--web-host", "0.0.0.0")
    (kept / f"{RUN}-0001-2.png").unlink()
    (kept / f"{RUN}-0002.json").write_text("{")
    told = json.loads((kept / f"{RUN}-0003.json").read_text())
    told["views"][0]["crop"] = "../../secret.png"
    (kept / f"{RUN}-0003.json").write_text(json.dumps(told))
    with reviewing(kept) as (url, running):
        assert [item["name"][-1] for item in ask(url, "api/items")["items"]] == ["4"]
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "3 of 4 items are not whole" in err
    (kept / "reviewed" / "judged.json").write_text("[]")
    assert "cannot read it" in refused(kept)


def test_a_kill_between_verdict_and_photos_is_made_good(kept: Path) -> None:
    with reviewing(kept) as (url, _):
        ask(url, "api/judge", {"name": f"{RUN}-0001", "label": "Stop"})
        ask(url, "api/judge", {"name": f"{RUN}-0004", "label": "Yield"})
    path = kept / "reviewed" / "judged.json"
    told = json.loads(path.read_text())
    told["items"][f"{RUN}-0001"]["label"] = "Yield"
    path.write_text(json.dumps(told))
    (kept / "reviewed" / "mine").mkdir()
    (kept / "reviewed-frames" / "images" / f"{RUN}-0004.jpg").unlink()
    with reviewing(kept) as (url, _):
        wait_for(lambda: photos(kept) == {"Yield/1/1.png", "Yield/1/2.png", "Yield/4/1.png"}, "the photos")
        assert set(frames(kept)) == {"1", "4"}
    assert (kept / "reviewed" / "mine").is_dir()
    for number in (1, 4):  # what was judged stays, whatever becomes of the items
        for path in kept.glob(f"{RUN}-000{number}*"):
            path.unlink()
    with reviewing(kept) as (url, _):
        assert ask(url, "api/judge", {"name": f"{RUN}-0002", "label": "Stop"}) == {"signs": 3, "none": 0, "mixed": 0}
        assert set(frames(kept)) == {"1", "2", "4"}
        assert re.search("Yield/4/1.png", " ".join(photos(kept)))
