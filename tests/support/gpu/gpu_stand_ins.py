"""Puts a GPU together that is none: the stub of CUDA, compiled here, the stand-in of TensorRT on it, and an engine of a bundle for both."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import tensorrt_stand_in

from edge.bundle.manifest import read_bundle
from edge.bundle.sidecar import SCHEMA, Sidecar, plan_path, this_board, write_sidecar
from edge.engines.cuda import Cuda, open_cuda
from edge.files import sha256_of

TESTS = Path(__file__).resolve().parent
RELEASES = (11, 12, 13)
BOARDS = {"integrated": "1", "discrete": "0"}


@cache
def stub_of(release: int) -> Path:
    """Compile the stub of a CUDA release; a test that asks for it is skipped where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not compiler:
        pytest.skip("needs a C compiler for the stub of CUDA (Debian, Ubuntu: apt install gcc)")
    library = Path(mkdtemp(prefix="signwing-stub-")) / f"libcudart.so.{release}"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-DCUDART_MAJOR={release}"]
    subprocess.run([compiler, *flags, "-o", library, TESTS / "stub_cudart.c"], check=True)
    return library


class Stub:
    """A stub in this process and what it counts."""

    def __init__(self, release: int, memory: str, environment: pytest.MonkeyPatch) -> None:
        self.path, self.memory = stub_of(release), memory
        environment.setenv("STUB_INTEGRATED", BOARDS[memory])
        environment.setenv(tensorrt_stand_in.STUB, str(self.path))
        self.library = ctypes.CDLL(str(self.path))
        self.library.stub_calls.restype = ctypes.c_char_p
        self.forget()
        tensorrt_stand_in.FAULTS.clear()

    def forget(self) -> None:
        self.library.stub_forget()

    def cuda(self) -> Cuda:
        return open_cuda([str(self.path)], str(self.path))

    def fail(self, call: str, status: int = 1, after: int = 0) -> None:
        """Make a call fail, once, after so many that succeed."""
        self.library.stub_fail(call.encode(), status, after)

    @property
    def calls(self) -> list[str]:
        return self.library.stub_calls().decode().split()

    @property
    def live(self) -> int:
        return self.library.stub_live()


def install_engine(folder: Path, precision: str = "fp16", gpu: str = "Orin") -> Path:
    """Put an engine into a bundle, built from its model for the stand-ins, and return its plan."""
    spec = read_bundle(folder).model("classifier", precision)
    plan = plan_path(folder, spec.role, spec.precision)
    plan.parent.mkdir(exist_ok=True)
    version = bytes(map(int, f"{tensorrt_stand_in.__version__}.30".split(".")))
    plan.write_bytes(b"ftrt" + bytes(20) + version + (folder / spec.file).read_bytes())
    figures = {"peak_mib": 1.0, "least_available_mib": None, "seconds": 1.0, "difference": 0.0, "workspace_mib": 64, "optimization_level": 3}
    board = this_board(tensorrt_stand_in.__version__, gpu, "8.7")
    record = {"typing": "strong", "max_batch": 16, "built_at": "2026-01-01T00:00:00+00:00", **figures}
    write_sidecar(plan, Sidecar(SCHEMA, spec.role, spec.precision, spec.sha256, sha256_of(plan), board, **record))
    return plan


def edge_with_stand_ins(folder: Path, *argv: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m edge` in a process that finds the stand-ins where it would find TensorRT and CUDA; `folder` is for its files."""
    library, modules = stub_of(13), folder / "modules"
    modules.mkdir()
    (modules / "tensorrt.py").write_text("from tensorrt_stand_in import *\nfrom tensorrt_stand_in import __version__\n", encoding="utf-8")
    (modules / "libcudart.so.13").symlink_to(library)
    (modules / "libcuda.so.1").symlink_to(library)
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS, modules))), "LD_LIBRARY_PATH": str(modules), tensorrt_stand_in.STUB: str(library)}
    command = [sys.executable, "-W", "error", "-m", "edge", *map(str, argv)]
    return subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True, timeout=300, check=False)
