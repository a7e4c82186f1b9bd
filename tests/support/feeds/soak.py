"""Long tests of the feed: a real sender, a relay that loses packets, and `python -m edge run` watched from outside. Needs ffmpeg; no part of the test suite.

    scripts/soak                                        30 minutes for each codec and back end that is there
    scripts/soak --minutes 0.5 --kills 3                the short form
    scripts/soak --codecs h264 --pythons .venv/bin/python

A case is: a steady feed of `--minutes` (memory, threads and descriptors after its first minute, or its first quarter), a sender killed and back `--kills`
times, then 5% and 20% of the packets lost for 30 s each, or a quarter of the steady part if that is less; then SIGTERM. Last, the true age of 1280x720 frames
at 30 a second, from before the encoder to the loop, for 15 s.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from stamps import ENCODERS, StampedSender  # noqa: E402

from edge.bundle.lineage import now, result  # noqa: E402
from edge.files import write_json  # noqa: E402 - run as a script, from anywhere
from edge.sources.live.rtp.nal import CODECS, is_intra, units  # noqa: E402
from edge.sources.live.rtp.packets import parse_packet  # noqa: E402
from edge.sources.live.rtp.sockets import free_ports  # noqa: E402

PYTHONS = [sys.executable, "/usr/bin/python3"]
LIMITS = {
    "rss_growth_mib": 5.0,
    "threads_spread": 0,
    "fds_spread": 0,
    "stalled_s": 1.0,
    "lost_s": 2.0,
    "live_s": 2.0,
    "exit_code": 0,
    "lossy_lost": 0,
    "age_p99_ms": 150.0,
}
SIZE, FPS, GOP = "640x360", 30, 30
PATIENCE_S = 30.0
AGE_S = 15.0
LIVE_S = 2.0
"""Of feed between two kills."""


class Relay:
    """Passes packets from the sender to the runtime, loses a share of them by chance, and notes when."""

    def __init__(self, codec: str, to_port: int, loss: float = 0.0) -> None:
        self.port, self.loss = free_ports(), loss
        self.last_ns = self.intra_ns = 0
        self._codec, self._to = codec, ("127.0.0.1", to_port)
        self._chance, self._stopping = random.Random(0), threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Relay:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", self.port))
        self._socket.settimeout(0.2)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()

    def _work(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as onward:
            while not self._stopping.is_set():
                try:
                    datagram = self._socket.recv(65536)
                except TimeoutError:
                    continue
                if self._chance.random() < self.loss:
                    continue
                self.last_ns = time.monotonic_ns()
                packet = parse_packet(datagram)
                if not self.intra_ns and packet and any(is_intra(unit.kind, self._codec) for unit in units(packet.payload, self._codec)):
                    self.intra_ns = self.last_ns
                onward.sendto(datagram, self._to)


def sending(codec: str, port: int) -> subprocess.Popen[bytes]:
    """Start FFmpeg; parameter sets stand before every intra frame, as cameras send them."""
    source = ["ffmpeg", "-loglevel", "error", "-re", "-f", "lavfi", "-i", f"testsrc2=size={SIZE}:rate={FPS}", "-pix_fmt", "yuv420p"]
    options = ["-preset", "ultrafast", "-tune", "zerolatency", "-g", str(GOP), "-b:v", "2M", "-f", "rtp", f"rtp://127.0.0.1:{port}?pkt_size=1200"]
    return subprocess.Popen([*source, "-c:v", *ENCODERS[codec], *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Watched:
    """The runtime, seen from outside: states from its events, the rest from /proc."""

    def __init__(self, python: str, codec: str, port: int, folder: Path) -> None:
        self.events, self.summary, self.log = folder / "events.jsonl", folder / "summary.json", folder / "log.txt"
        uri = f"rtp://@:{port}?codec={codec}"
        command = [python, "-m", "edge", "run", uri, "--engine", "fake", "--spotter", "colour", "--events", self.events, "--json", self.summary]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)

    def states(self) -> list[tuple[int, str]]:
        """Every change of state so far: monotonic nanoseconds and the state."""
        if not self.events.exists():
            return []
        lines = self.events.read_text(encoding="utf-8").split("\n")[:-1]
        found = [json.loads(line) for line in lines if '"event": "state"' in line]
        return [(event["received_ns"], event["state"]) for event in found]

    def wait(self, state: str, after_ns: int) -> int:
        """Wait until a state is entered after a time, and return when."""
        return waited(lambda: next((at for at, name in self.states() if name == state and at >= after_ns), None), f"{state}: {self.told()}")

    def sample(self) -> tuple[float, int, int]:
        """Resident memory in MiB, threads and descriptors."""
        proc = Path("/proc") / str(self.process.pid)
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), len(list((proc / "fd").iterdir()))

    def told(self) -> str:
        return self.log.read_text(errors="replace")[-400:].strip()


def waited(condition: Callable[[], int | None], what: str) -> int:
    end = time.monotonic() + PATIENCE_S
    while (found := condition()) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"not within {PATIENCE_S:g} s: {what}")
        time.sleep(0.02)
    return found


def case(python: str, codec: str, minutes: float, kills: int) -> dict[str, Any]:
    """Run one case and return its figures."""
    port = free_ports()
    with tempfile.TemporaryDirectory() as folder, Relay(codec, port) as relay:
        watched, sender = Watched(python, codec, port, Path(folder)), None
        try:
            time.sleep(2)
            sender = sending(codec, relay.port)
            watched.wait("live", 0)
            figures = steady(watched, minutes * 60)
            times: dict[str, list[float]] = {"stalled_s": [], "lost_s": [], "live_s": []}
            for _ in range(kills):
                time.sleep(LIVE_S)
                sender.kill()
                sender.wait()
                time.sleep(0.05)
                quiet_ns, relay.intra_ns = relay.last_ns, 0
                for state in ("stalled", "lost"):
                    times[f"{state}_s"].append((watched.wait(state, quiet_ns) - quiet_ns) / 1e9)
                sender = sending(codec, relay.port)
                begun_ns = waited(lambda: relay.intra_ns or None, "an intra frame from ffmpeg")
                times["live_s"].append((watched.wait("live", begun_ns) - begun_ns) / 1e9)
            figures |= {name: round(max(values), 3) for name, values in times.items() if values}
            figures["lossy_lost"] = sum(lossy(watched, relay, loss, min(30.0, minutes * 15)) for loss in (0.05, 0.2))
            watched.process.send_signal(signal.SIGTERM)
            figures["exit_code"] = watched.process.wait(PATIENCE_S)
            summary = json.loads(watched.summary.read_text(encoding="utf-8"))
            return figures | {key: summary[key] for key in ("frames", "dropped", "age_ms")}
        except (TimeoutError, OSError) as error:
            return {"failed": f"{error}"}
        finally:
            for process in (watched.process, sender):
                if process is not None:
                    process.kill()
                    process.wait()


def steady(watched: Watched, seconds: float) -> dict[str, Any]:
    """Watch memory, threads and descriptors."""
    begun_s, warm_s = time.monotonic(), min(60.0, seconds / 4)
    samples = []
    while (at_s := time.monotonic() - begun_s) < seconds:
        time.sleep(min(1.0, seconds / 20))
        if at_s >= warm_s:
            samples.append(watched.sample())
    rss, threads, fds = zip(*samples, strict=True)
    return {
        "rss_mib": round(rss[0], 1),
        "rss_growth_mib": round(max(rss) - rss[0], 2),
        "threads": threads[-1],
        "threads_spread": max(threads) - min(threads),
        "fds": fds[-1],
        "fds_spread": max(fds) - min(fds),
    }


def lossy(watched: Watched, relay: Relay, loss: float, seconds: float) -> int:
    """Lose packets for a while, and return how often the feed counted as lost meanwhile; a whole feed must be live again."""
    begun_ns, relay.loss = time.monotonic_ns(), loss
    time.sleep(seconds)
    relay.loss = 0.0
    waited(lambda: 1 if watched.states()[-1][1] == "live" else None, f"live after {loss:.0%} loss")
    return sum(at >= begun_ns and state == "lost" for at, state in watched.states())


def true_age(python: str, codec: str) -> dict[str, float]:
    """Return percentiles of the age that frames have when the loop gets them, from stamps in the pictures."""
    port = free_ports()
    command = [python, str(Path(__file__).with_name("stamps.py")), f"rtp://@:{port}?codec={codec}", "--seconds", str(AGE_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as consumer:
        time.sleep(2)
        with StampedSender(port, codec):
            try:
                told, _ = consumer.communicate(timeout=PATIENCE_S + AGE_S)
            except subprocess.TimeoutExpired:
                consumer.kill()
                raise TimeoutError(f"no stamped frames within {PATIENCE_S + AGE_S:g} s") from None
    return {f"age_{share}_ms": ms for share, ms in json.loads(told)["age_ms"].items()}


def broken(figures: dict[str, Any]) -> list[str]:
    """Name the figures that are beyond their limit."""
    return ["failed"] if "failed" in figures else [name for name, most in LIMITS.items() if figures.get(name, 0) > most]


def backend_of(python: str) -> str | None:
    """Return what an interpreter decodes a feed with; None where it has no OpenCV."""
    asked = "import cv2; from importlib.util import find_spec as f; build = cv2.getBuildInformation(); "
    asked += "print('PyAV' if f('av') else 'GStreamer' if 'GStreamer:                   YES' in build else 'FFmpeg')"
    try:
        return subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def main() -> int:
    """Run every case, print a table, write the JSON, and return 1 if a limit was broken."""
    parser = argparse.ArgumentParser(description="Long tests of the feed.", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="of steady feed for each case")
    parser.add_argument("--kills", type=int, default=20, help="how often the sender is killed and back")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--pythons", nargs="+", default=PYTHONS, help="interpreters to run it with; PyAV, or else their OpenCV, is the back end")
    parser.add_argument("--json", type=Path, metavar="F", default=ROOT / "out" / "soak.json")
    arguments = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        print("scripts/soak: wanted ffmpeg as the sender, found none: apt install ffmpeg", file=sys.stderr)
        return 1
    started_at, cases = now(), []
    columns = (
        "rss_mib",
        "rss_growth_mib",
        "threads",
        "threads_spread",
        "fds",
        "fds_spread",
        "stalled_s",
        "lost_s",
        "live_s",
        "lossy_lost",
        "age_p50_ms",
        "age_p99_ms",
        "exit_code",
        "frames",
    )
    print(f"{'case':<16}", *(f"{name:>14}" for name in columns))
    for python in arguments.pythons:
        backend = backend_of(python)
        for codec in arguments.codecs if backend else []:
            figures = case(python, codec, arguments.minutes, arguments.kills)
            figures |= {} if "failed" in figures else true_age(python, codec)
            cases.append({"backend": backend, "codec": codec, "broken": broken(figures), **figures})
            print(f"{backend} {codec}".ljust(16), *(f"{figures.get(name, '-'):>14}" for name in columns), " ".join(cases[-1]["broken"]), flush=True)
            if "failed" in figures:
                print(f"    {figures['failed']}", flush=True)
    conditions = {"minutes": arguments.minutes, "kills": arguments.kills, "size": SIZE, "fps": FPS, "gop": GOP, "limits": LIMITS}
    write_json(arguments.json, result("soak", started_at, conditions, {"cases": cases}))
    print(f"{'written':<16}", arguments.json)
    return int(not cases or any(each["broken"] for each in cases))


if __name__ == "__main__":
    sys.exit(main())
