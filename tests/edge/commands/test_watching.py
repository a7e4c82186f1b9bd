"""The whole runtime from outside: a camera's RTP stream in, the page, metrics, MAVLink and events out, while the camera goes and comes back."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("prometheus_client", reason="the extra web is not installed")
pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")

from commands import command, lines, rewrite, started
from packets import wait_for
from prometheus_client.parser import text_string_to_metric_families
from stations import Station, free_port
from test_edge_live import sending

from edge.bundle.manifest import read_bundle
from edge.sources.live.rtp.sockets import free_ports

ROOT = Path(__file__).resolve().parents[3]


class Watched:
    """A run with all of its outputs."""

    def __init__(self, folder: Path, bundle: Path, rtp: int, mavlink: int) -> None:
        self.events, self.json, self._out = folder / "events.jsonl", folder / "run.json", folder / "out.txt"
        options = ("--bundle", bundle, "--engine", "fake", "--spotter", "none", "--events", self.events, "--json", self.json, "--memory-limit", 2000)
        argv = command("run", f"rtp://@:{rtp}?codec=h264", *options, "--web", 0, "--mavlink", f"udpout:127.0.0.1:{mavlink}")
        with self._out.open("wb") as out:
            self._process: subprocess.Popen[str] = started(argv, ROOT, stdout=out.fileno())

    def __enter__(self) -> Watched:
        wait_for(lambda: "page " in self._out.read_text() and "\n" in self._out.read_text(), "the page", 60)
        self.url = next(line.split()[1] for line in self._out.read_text().splitlines() if line.startswith("page "))
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("api/status")[1])
        return found

    def metrics(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.get("metrics")[1].decode())
        return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

    def end(self) -> tuple[dict[str, Any], str]:
        self._process.terminate()
        _, said = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, said
        document: dict[str, Any] = json.loads(self.json.read_text())
        return document, said


def test_all_outputs_follow_a_camera_that_goes_and_comes_back(tiny_bundle: Path, tmp_path: Path) -> None:
    rewrite(tiny_bundle, thresholds=replace(read_bundle(tiny_bundle).manifest.thresholds, confidence=0.0))
    rtp, mavlink = free_ports(), free_port()
    with Station(f"udpin:127.0.0.1:{mavlink}", 7) as station, Watched(tmp_path, tiny_bundle, rtp, mavlink) as run:
        assert run.status["state"] == "connecting"
        assert run.get("healthz") == (503, b"feed connecting\n")
        for turn in (1, 2):
            with sending(rtp, "h264"):
                wait_for(lambda: run.status["state"] == "live", "the camera", 60)
                before = run.status["frames"]
                wait_for(lambda before=before: run.status["frames"] > before + 20, "frames", 60)  # type: ignore[misc]
                assert run.get("healthz") == (200, b"ok\n")
                assert run.get("live.jpg")[1][:3] == b"\xff\xd8\xff"
            wait_for(lambda: run.status["state"] == "lost", "the loss", 60)
            station.wait(lambda: feeds(station)[-1:] == [3])
            assert run.get("healthz") == (503, b"feed lost\n")
            assert run.status["feed"]["reconnects"] == turn - 1
        # The feed is silent: nothing counts any more.
        metrics, status = run.metrics(), run.status
        sightings = json.loads(run.get("api/sightings")[1])["sightings"]
        figures, said = run.end()
    assert "Traceback" not in said
    assert metrics["signwing_frames_total"] == figures["frames"] == status["frames"]
    assert metrics["signwing_frames_dropped_total"] == figures["dropped"]
    assert metrics["signwing_feed_frames_captured_total"] == figures["feed"]["captured"] == figures["frames"] + figures["dropped"]
    events = [event for event in lines(run.events) if event["event"] == "sighting"]
    assert len(events) == figures["sightings"] == status["sightings"] > 0
    assert [sighting["track"] for sighting in reversed(sightings)] == [event["track"] for event in events][-len(sightings) :]
    texts = [message["text"] for message in station.of("STATUSTEXT")]
    assert texts
    assert {int(text.split()[1]) for text in texts} <= {event["class_id"] for event in events}
    assert {message["system"] for message in station.of("HEARTBEAT")[-2:]} == {7}
    assert {message["system_status"] for message in station.of("HEARTBEAT")} == {3, 4}
    assert figures["conditions"]["web"] is figures["conditions"]["mavlink"] is True


def feeds(station: Station) -> list[int]:
    return [message["value"] for message in station.of("NAMED_VALUE_INT") if message["name"] == "FEED"]
