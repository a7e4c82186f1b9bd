"""What was built on a board, and the guard in front of it: an engine runs only where, and from what, its sidecar says that it was built.

`engines/<role>.<precision>.plan` is TensorRT's own file, and a `.json` of the same name stands beside it. The guard compares both with the bundle and the
machine before TensorRT sees a byte, since a plan of another version or GPU may crash the library that reads it.
"""

from __future__ import annotations

import math
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.bundle.manifest import Bundle, ModelSpec
from edge.bundle.records import check_sha256, read_record
from edge.errors import BundleError
from edge.files import sha256_of, write_json

SCHEMA = 1
ENGINES = "engines"
STRONG, WEAK = TYPINGS = ("strong", "weak")

_MAGIC = b"ftrt"
_HEADER_BYTES = 28
_VERSION_AT = 24
_OPTIMIZATION_LEVELS = range(6)


@dataclass(frozen=True)
class Board:
    """The machine that an engine is built on, or is to run on.

    Attributes:
        tensorrt: version of the library, such as "10.3.0".
        gpu: CUDA's name of the device; on a Jetson with the module's part number, since every Orin calls its GPU "Orin".
        compute_capability: such as "8.7".
        l4t: release of Jetson Linux, such as "36.4.7"; None on a PC.
        power_mode: its name as nvpmodel tells it; None where there is none.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    l4t: str | None
    power_mode: str | None


@dataclass(frozen=True)
class Sidecar:
    """How an engine was built.

    Attributes:
        schema: of this record.
        role: "classifier" or "spotter".
        precision: "fp16" or "int8".
        onnx_sha256: of the model that it was built from, hexadecimal.
        plan_sha256: of the plan beside, hexadecimal.
        board: where it was built, and runs.
        typing: "strong", or "weak" where the builder was free to choose precisions (TensorRT 10 only).
        max_batch: largest batch that it takes.
        workspace_mib: what the builder might use for a layer's scratch memory.
        optimization_level: TensorRT's, 0 to 5.
        peak_mib: most resident memory of the building process, which on a Jetson leaves out most of what the GPU took.
        least_available_mib: least memory that the system had left meanwhile, whoever took it; None where it does not tell.
        seconds: that the build took.
        difference: largest absolute difference of a golden output in the self-test; None until that has run.
        built_at: UTC, ISO 8601.
    """

    schema: int
    role: str
    precision: str
    onnx_sha256: str
    plan_sha256: str
    board: Board
    typing: str
    max_batch: int
    workspace_mib: int
    optimization_level: int
    peak_mib: float
    least_available_mib: float | None
    seconds: float
    difference: float | None
    built_at: str


def plan_path(folder: Path, role: str, precision: str) -> Path:
    """Return where the plan of a bundle's engine stands."""
    return Path(folder) / ENGINES / f"{role}.{precision}.plan"


def sidecar_path(plan: Path) -> Path:
    """Return where the sidecar of a plan stands."""
    return Path(plan).with_suffix(".json")


def build_command(folder: Path, precision: str) -> str:
    """Return the command that builds an engine again, for a message."""
    return f"python -m export engine {folder} --precision {precision}"


def write_sidecar(plan: Path, sidecar: Sidecar) -> None:
    """Write the sidecar of a plan.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(sidecar_path(plan), asdict(sidecar))


def read_sidecar(plan: Path, cure: str) -> Sidecar:
    """Read the sidecar of a plan; `cure` ends a refusal.

    Raises:
        BundleError: it is missing, newer or damaged.
    """
    return read_record(Sidecar, sidecar_path(plan), SCHEMA, what="sidecar", cure=cure, check=_check)


def read_plan_version(plan: Path, cure: str) -> str | None:
    """Return the TensorRT version in a plan's header, "10.3.0.30", or None for a header of a layout that is newer than this program; `cure` ends a refusal.

    Raises:
        BundleError: the file cannot be read or is no plan.
    """
    try:
        with Path(plan).open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except OSError as error:
        raise BundleError(f"wanted a TensorRT plan in {plan}, cannot read it ({error.strerror}): {cure}") from error
    if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
        raise BundleError(f"wanted a TensorRT plan in {plan}, found {len(head)} bytes of something else at its start: {cure}")
    if struct.unpack_from("<I", head, len(_MAGIC))[0] != 0:
        return None
    return ".".join(map(str, head[_VERSION_AT:_HEADER_BYTES]))


def guard(bundle: Bundle, spec: ModelSpec, here: Board) -> tuple[Path, Sidecar]:
    """Return the plan of a bundle's model and its sidecar, if this machine may run it; another power mode is told on the standard error.

    Raises:
        BundleError: there is no engine, it is damaged, or was built from another model or for another precision, TensorRT or GPU.
    """
    plan = plan_path(bundle.folder, spec.role, spec.precision)
    again = build_command(bundle.folder, spec.precision)
    cure = f"build it again with `{again}`"
    if not plan.is_file() or not sidecar_path(plan).is_file():
        missing = sidecar_path(plan) if plan.is_file() else plan
        raise BundleError(f"wanted an engine for {spec.role} {spec.precision}, found no {missing}: build it with `{again}`")
    sidecar = read_sidecar(plan, cure)
    for what, wanted, found in (
        ("model", f"{spec.role} {spec.precision} {spec.sha256[:12]}", f"{sidecar.role} {sidecar.precision} {sidecar.onnx_sha256[:12]}"),
        ("GPU", f"{here.gpu} {here.compute_capability}", f"{sidecar.board.gpu} {sidecar.board.compute_capability}"),
        ("TensorRT", here.tensorrt, sidecar.board.tensorrt),
    ):
        if wanted != found:
            raise BundleError(f"wanted {plan} built for {what} {wanted}, found one built for {found}: {cure}")
    _check_plan(plan, sidecar, here, cure)
    if None not in (sidecar.board.power_mode, here.power_mode) and sidecar.board.power_mode != here.power_mode:  # a container may not tell
        print(
            f"{plan} was built in power mode {sidecar.board.power_mode}, this is {here.power_mode}: it runs, but `{again}` may make it faster", file=sys.stderr
        )
    return plan, sidecar


def _check_plan(plan: Path, sidecar: Sidecar, here: Board, cure: str) -> None:
    version = read_plan_version(plan, cure)
    if version is not None and not _same_release(version, here.tensorrt):
        raise BundleError(f"wanted a plan of TensorRT {here.tensorrt} in {plan}, found one of {version}: {cure}")
    try:
        found = sha256_of(plan)
    except OSError as error:
        raise BundleError(f"wanted a TensorRT plan in {plan}, cannot read it ({error.strerror}): {cure}") from error
    if found != sidecar.plan_sha256:
        raise BundleError(f"wanted {plan} with sha256 {sidecar.plan_sha256[:12]}..., found {found[:12]}...: it is damaged or half replaced, {cure}")


def _same_release(one: str, other: str) -> bool:
    """Whether two versions agree as far as both go: JetPack's bindings leave the fourth number out."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return all(a == b for a, b in pairs)


def _check(sidecar: Sidecar) -> None:
    check_sha256(sidecar.onnx_sha256, "the model")
    check_sha256(sidecar.plan_sha256, "the plan")
    texts = [sidecar.role, sidecar.precision, sidecar.built_at, *asdict(sidecar.board).values()]
    if not all(text is None or text.isprintable() for text in texts):
        raise ValueError(f"texts {texts} are not all printable")
    if sidecar.typing not in TYPINGS:
        raise ValueError(f"typing is {sidecar.typing!r}, not {' or '.join(TYPINGS)}")
    if sidecar.max_batch < 1 or sidecar.workspace_mib < 0 or sidecar.optimization_level not in _OPTIMIZATION_LEVELS:
        raise ValueError(f"batch {sidecar.max_batch}, workspace {sidecar.workspace_mib} or level {sidecar.optimization_level} is out of its range")
    figures = [figure for figure in (sidecar.peak_mib, sidecar.least_available_mib, sidecar.seconds, sidecar.difference) if figure is not None]
    if not all(0.0 <= figure < math.inf for figure in figures):
        raise ValueError(f"figures {figures} are not all 0 and more")
