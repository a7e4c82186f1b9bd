"""The bundle's weights through other runtimes, side by side: each in a process of its own, all alive at once, asked in turn. One that is missing is named."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.latency import drawn_crops
from benchmarks.measuring.children import last_line
from benchmarks.measuring.setting import ROLE, Setting, print_conditions, write_result
from benchmarks.peers import child as peer_child
from benchmarks.peers import models as peer_models
from edge import cli
from edge.bundle.lineage import lineage, now
from edge.bundle.manifest import read_bundle
from edge.bundle.onnx_fp32 import widen
from edge.datasets.classes import check_known
from edge.datasets.gtsrb import Photo, read_photo, read_test, read_train, score
from edge.engines.open import choose_engine
from edge.errors import EngineError
from edge.images import fit_crop

BATCHES = (1, 8)
CALIBRATED_ON = 430
"""Training photos, evenly taken, from which peers take the ranges of their int8."""
_TOLD = 200
_VERSIONS = ("tensorflow", "keras", "onnxruntime", "ai-edge-litert", "openvino", "nncf", "opencv-python-headless")


class _Peer:
    """One runtime's process."""

    def __init__(self, name: str, request: dict[str, Any]) -> None:
        self.name = name
        command = cli.child(peer_child.__name__, json.dumps(request))
        start = time.perf_counter()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        # Libraries that chat do so on stderr, which is kept for the one line that tells why a process ended.
        self._process = subprocess.Popen(command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True)  # noqa: S603
        self._read()
        self.start_s = time.perf_counter() - start

    def __enter__(self) -> _Peer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # why it ended is told below
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                return json.loads(line)
            except ValueError:
                continue  # a library that chats on stdout
        self._process.wait()
        self._errors.seek(0)
        said = last_line(self._errors.read(), self._process.returncode)[:_TOLD]
        self.__exit__(None, None, None)
        raise EngineError(f"wanted an answer of {self.name}, its process ended: {said}")


def peers(setting: Setting, data: Path | None, rounds: int, runs: int, json_path: Path | None) -> dict[str, Any]:
    """Measure our engine and every other runtime that is there, and print a table.

    Args:
        setting: our bundle and engine; with engine "auto", OpenVINO behind our seam is measured too where it is installed.
        data: a GTSRB folder, or one that holds `gtsrb/`, for accuracy on its test photos; None leaves accuracy out and calibrates on drawn signs.
        rounds: turns of each.
        runs: timed calls of each turn and batch size.
        json_path: where the result goes, or None.

    Returns:
        `rows`, ours first: `name`, `top1` (None without photos), `ms` (batch -> median of all calls), `ratio` (batch -> its time as a multiple of ours),
        `start_s` (from starting Python to the first answer), `rss_mib`, `peak_mib`; `missing`: name -> why; `versions`.

    Raises:
        BundleError: no bundle, or a damaged one.
        EngineError: our own engine fails.
        DataError: no known data set at `data`.
        OutputError: `json_path` cannot be written.
    """
    bundle = read_bundle(setting.bundle)
    spec = bundle.model(ROLE, "fp16")
    size = spec.input.shape[1]
    started_at, conditions = now(), setting.conditions(data=str(data) if data else None, rounds=rounds, runs=runs, size=size)
    if data:
        check_known(bundle.manifest.labels, data, str(setting.bundle))
    photos, calibration = (read_test(data), _evenly(read_train(data), CALIBRATED_ON)) if data else ([], [])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signwing-")))
        (folder / peer_models.FP32).write_bytes(widen(bundle.verified_path(spec.file, spec.sha256).read_bytes()))
        drawn = drawn_crops(max(BATCHES), size)
        np.save(folder / peer_child.CROPS, drawn)
        _save_photos(folder / peer_models.CALIBRATION, calibration, size) if data else np.save(folder / peer_models.CALIBRATION, drawn)
        _save_photos(folder / peer_child.PHOTOS, photos, size)
        print("making the models of the peers", flush=True)
        missing = _make(folder)
        running: list[_Peer] = []
        for name, request in _requests(setting, folder):
            if name in missing:
                continue
            try:
                running.append(stack.enter_context(_Peer(name, request)))
            except EngineError as error:
                if not running:
                    raise
                missing[name] = str(error)
        print_conditions(running[0].name, f"precision {setting.precision}", setting)
        rows = _measure(running, rounds, runs, np.array([photo.class_id for photo in photos]))
    _print(rows, missing)
    figures = {"rows": rows, "missing": missing, "versions": lineage(*_VERSIONS)["versions"]}
    write_result(json_path, "peers", started_at, conditions, figures)
    return figures


def _requests(setting: Setting, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    engine = setting.engine
    if engine == "auto":
        engine = choose_engine(read_bundle(setting.bundle), ROLE, precision=setting.precision, provider=setting.provider)
    also = ["openvino"] if setting.engine == "auto" and engine == "onnxruntime" and peer_models.there("openvino") else []
    for each in [engine, *also]:
        options = asdict(setting) | {"bundle": str(setting.bundle), "engine": each, "folder": str(folder)}
        yield f"Signwing, {each}", options
    for name in peer_child.PEERS:
        yield name, {"peer": name, "folder": str(folder)}


def _make(folder: Path) -> dict[str, str]:
    """Have the peers' files made, and return why some cannot run."""
    made = subprocess.run(cli.child(peer_models.__name__, str(folder)), env=_environment(), capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode != 0:
        raise EngineError(f"wanted the models of the peers, making them failed: {last_line(made.stderr, made.returncode)[:_TOLD]}")
    failed: dict[str, str] = json.loads(made.stdout.splitlines()[-1])
    missing = {}
    for name, peer in peer_child.PEERS.items():
        lacking = [module for module in peer.needs if not peer_models.there(module)]
        if lacking:
            missing[name] = f"not installed: {', '.join(lacking)}"
        elif peer.file in failed:
            missing[name] = failed[peer.file]
    return missing


def _environment() -> dict[str, str]:
    return {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}


def _measure(running: Sequence[_Peer], rounds: int, runs: int, class_ids: np.ndarray[Any, np.dtype[np.int64]]) -> list[dict[str, Any]]:
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for batch in BATCHES:
            for peer in running:
                times.setdefault((peer.name, batch), []).extend(peer.ask(do="time", batch=batch, runs=runs)["ms"])
    rows: list[dict[str, Any]] = []
    for peer in running:
        ms = {str(batch): round(float(np.median(times[peer.name, batch])), 4) for batch in BATCHES}
        ratio = {batch: round(each / rows[0]["ms"][batch], 3) if rows else 1.0 for batch, each in ms.items()}
        memory = {key: round(mib, 1) for key, mib in peer.ask(do="memory").items()}
        top1 = score(np.array(peer.ask(do="predict")["classes"]), class_ids)["top1"] if len(class_ids) else None
        rows.append({"name": peer.name, "top1": top1, "ms": ms, "ratio": ratio, "start_s": round(peer.start_s, 3), **memory})
    return rows


def _print(rows: Sequence[dict[str, Any]], missing: dict[str, str]) -> None:
    print(f"{'':<24}{'top-1':>8}" + "".join(f"{f'ms at {batch}':>10}{'x ours':>8}" for batch in BATCHES) + f"{'start s':>9}{'RSS MiB':>9}")
    for row in rows:
        top1 = "-" if row["top1"] is None else f"{row['top1']:.4f}"
        times = "".join(f"{row['ms'][str(batch)]:>10.2f}{row['ratio'][str(batch)]:>8.2f}" for batch in BATCHES)
        print(f"{row['name']:<24}{top1:>8}{times}{row['start_s']:>9.2f}{row['rss_mib']:>9.0f}")
    for name, reason in missing.items():
        print(f"left out: {name}: {reason}")


def _evenly(photos: Sequence[Photo], count: int) -> list[Photo]:
    return [photos[at] for at in np.linspace(0, len(photos) - 1, min(count, len(photos))).astype(int)]


def _save_photos(path: Path, photos: Sequence[Photo], size: int) -> None:
    crops = np.lib.format.open_memmap(path, "w+", np.uint8, (len(photos), size, size, 3))
    for place, photo in enumerate(photos):
        crops[place] = fit_crop(read_photo(photo), size)
    crops.flush()
