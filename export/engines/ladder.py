"""Builds a bundle's engines on the board inside the memory that there is: rung after rung with less, each said aloud; nothing unproven under a final name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edge.board.identity import SYSTEM, read_identity, read_memory
from edge.errors import BundleError, EngineError, VerificationError
from edge.files import cache_folder, sha256_of, telling_refusal
from edge.bundle.lineage import now
from edge.bundle.manifest import Bundle, ModelSpec, read_bundle, tolerance_key
from edge.bundle.sidecar import ENGINES, SCHEMA, STRONG, Board, Sidecar, plan_path, sidecar_path, write_sidecar
from export.engines.child import Job, Rung
from export.engines.preflight import findings
from export.engines.process import Ending, run_job

TARGET = "tensorrt"
LEVELS = (3, 2, 1, 0)
MOST_WORKSPACE_MIB = 1024
LEAST_WORKSPACE_MIB = 32
KEPT_FREE_MIB = 1024
KEPT_MORE_MIB = 512
LEAST_TACTIC_MIB = 2048
"""On a Jetson TensorRT counts what it holds already into this pool: its kernel library and the weights. With less no tactic would be left to try."""

_MIB = 1 << 20


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Attributes:
        typing: see `export.engines.build.Settings`.
        max_batch: largest batch of a classifier; a spotter takes one frame.
        workspace_mib: of the first rung; None for what fits the memory.
        force: build against the advice of the preflight.
        root: where the system's files start.
    """

    typing: str = STRONG
    max_batch: int = 16
    workspace_mib: int | None = None
    force: bool = False
    root: Path = SYSTEM


def build_engines(folder: Path, role: str | None, precision: str | None, options: Options) -> None:
    """Build the engines of a bundle that are asked for, each proven with the golden outputs before it takes the place of an older one.

    Raises:
        BundleError: the bundle holds no such model for TensorRT, no golden tolerance for it, or a damaged file.
        EngineError: the machine lacks what a build needs, or no rung gave an engine.
        VerificationError: the engine computes something else than the golden outputs.
        OutputError: the bundle's folder cannot be written.
    """
    bundle = read_bundle(folder)
    held = [model for model in bundle.manifest.models if model.target == TARGET]
    wanted = [model for model in held if role in (None, model.role) and precision in (None, model.precision)]
    if not wanted:
        asked = " ".join(filter(None, [role, precision])) or "any model"
        kept = ", ".join(f"{model.role} {model.precision}" for model in held) or "none"
        raise BundleError(f"wanted {asked} for TensorRT in {folder}, it holds {kept}: choose another --precision or export the bundle again")
    for spec in wanted:
        key = tolerance_key(spec.role, spec.precision)
        if key not in bundle.manifest.golden.tolerance:
            raise BundleError(f"wanted a golden tolerance for {key} in {folder}, the manifest has none: export the bundle again")
        bundle.verified_path(spec.file, spec.sha256)
    for spec in wanted:
        _build(bundle, spec, options)


def ladder(available_mib: int, workspace_mib: int | None, *, shared: bool) -> list[Rung]:
    """Return the attempts to make with so much memory available, `shared` with the GPU or not: each has less of it and tries fewer tactics."""
    workspace = workspace_mib or min(max(available_mib // 4, LEAST_WORKSPACE_MIB), MOST_WORKSPACE_MIB)
    least = min(workspace, LEAST_WORKSPACE_MIB)
    rungs = []
    for step, level in enumerate(LEVELS):
        tactic = max(available_mib - KEPT_FREE_MIB - KEPT_MORE_MIB * step, LEAST_TACTIC_MIB)
        rungs.append(Rung(max(workspace >> step, least), tactic if shared else None, level))
    return rungs


def install(staged_plan: Path, folder: Path) -> Path:
    """Move a proven plan and its sidecar to their names in a bundle and return the plan's; between the two the guard refuses what stands there.

    Raises:
        OutputError: the folder cannot be written.
    """
    final = Path(folder) / ENGINES / staged_plan.name
    with telling_refusal(final):
        staged_plan.replace(final)
        sidecar_path(staged_plan).replace(sidecar_path(final))
    return final


def _build(bundle: Bundle, spec: ModelSpec, options: Options) -> None:
    rungs = _prepared(bundle, spec, options)
    with _staging(bundle) as staged:
        plan = plan_path(staged, spec.role, spec.precision)
        log = plan_path(bundle.folder, spec.role, spec.precision).with_suffix(".log")
        max_batch = options.max_batch if spec.role == "classifier" else 1
        job = Job("build", str(bundle.folder), str(staged), spec.role, spec.precision, max_batch, options.typing, rungs[0], str(cache_folder()))
        job, built = _climb_down(job, rungs, log)
        sidecar = _sidecar(spec, job, built, sha256_of(plan))
        write_sidecar(plan, sidecar)
        tested = run_job(replace(job, act="test"), log)
        if tested.done is None:
            raise VerificationError(tested.failure)
        sidecar = replace(sidecar, difference=tested.done["difference"])
        write_sidecar(plan, sidecar)
        final = install(plan, bundle.folder)
    allowed = bundle.manifest.golden.tolerance[tolerance_key(spec.role, spec.precision)]
    agrees = f", golden outputs within {sidecar.difference:.2g} ({allowed:g} allowed)"
    print(f"{final}: {final.stat().st_size / _MIB:.1f} MiB in {sidecar.seconds:.0f} s, builder's peak {sidecar.peak_mib:.0f} MiB{agrees}")


def _prepared(bundle: Bundle, spec: ModelSpec, options: Options) -> list[Rung]:
    """Say or refuse what speaks against the build, and return the attempts to make."""
    board, memory = read_identity(options.root), read_memory(options.root)
    disk_mib = shutil.disk_usage(bundle.folder).free // _MIB
    for finding in findings(board, memory, disk_mib, (bundle.folder / spec.file).stat().st_size / _MIB):
        if finding.refuses and not options.force:
            raise EngineError(f"wanted a machine that can build {spec.role} {spec.precision}: {finding.text} (--force tries all the same)")
        print(f"{spec.role} {spec.precision}: {finding.text}", file=sys.stderr)
    if options.typing != STRONG:
        print(
            f"{spec.role} {spec.precision}: weak typing, TensorRT may compute in other precisions than the graph says; the sidecar records it", file=sys.stderr
        )
    return ladder(memory.available_mib if memory else MOST_WORKSPACE_MIB, options.workspace_mib, shared=board.jetson)


def _climb_down(job: Job, rungs: list[Rung], log: Path) -> tuple[Job, Ending]:
    """Try rung after rung until one gives a plan, and return its job too."""
    with telling_refusal(log):
        log.write_bytes(b"")
    failure = ""
    for number, rung in enumerate(rungs, 1):
        print(f"{job.role} {job.precision}: attempt {number} of {len(rungs)}, {rung}", flush=True)
        job = replace(job, rung=rung)
        ending = run_job(job, log)
        if ending.done is not None:
            return job, ending
        failure = ending.failure
        if not ending.retry:
            raise EngineError(failure)
        print(f"{job.role} {job.precision}: {failure}", file=sys.stderr)
    raise EngineError(f"{failure} (TensorRT's own words: {log})")


def _sidecar(spec: ModelSpec, job: Job, built: Ending, plan_sha256: str) -> Sidecar:
    assert built.done is not None
    return Sidecar(
        schema=SCHEMA,
        role=spec.role,
        precision=spec.precision,
        onnx_sha256=spec.sha256,
        plan_sha256=plan_sha256,
        board=Board(**built.done["board"]),
        typing=job.typing,
        max_batch=job.max_batch,
        workspace_mib=job.rung.workspace_mib,
        optimization_level=job.rung.level,
        peak_mib=round(built.peak_mib, 1),
        least_available_mib=built.least_available_mib,
        seconds=round(built.seconds, 1),
        difference=None,
        built_at=now(),
    )


@contextmanager
def _staging(bundle: Bundle) -> Iterator[Path]:
    """A folder inside a bundle, on the same disk, in which an engine stands until it is proven; gone afterwards, and what a crash left in it before."""
    staged = bundle.folder / ENGINES / ".building"
    golden = bundle.manifest.golden
    try:
        with telling_refusal(staged):
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(parents=True)
            shutil.copy(bundle.verified_path(golden.file, golden.sha256), staged)
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
