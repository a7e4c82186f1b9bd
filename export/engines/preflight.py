"""What speaks against a build before it starts: memory, swap, disk, power mode, releases that are known to fail. Figures come in, words come out."""

from __future__ import annotations

from dataclasses import dataclass

from edge.board.identity import Identity, Memory, build_need_mib, known_faults
from edge.board.jetpack import jetpack_of, refusal

ROOM_MIB = 256
DISK_COPIES = 2
SPARE_DISK_MIB = 64

_FREE_MIB = 1024
_FASTEST = "MAXN"


@dataclass(frozen=True)
class Finding:
    """What was found and what cures it; `refuses` if a build would most likely fail."""

    text: str
    refuses: bool


def findings(board: Identity, memory: Memory | None, disk_mib: int, onnx_mib: float) -> list[Finding]:
    """Return what speaks against building a model of `onnx_mib` MiB on this machine with `disk_mib` MiB free where engines stand."""
    found = [Finding(fault, refuses=False) for fault in known_faults(board)]
    if board.l4t and (reason := refusal(board.l4t)):
        found.append(Finding(reason, refuses=jetpack_of(board.l4t) is not None))  # one that is newer than this program may do
    if disk_mib < DISK_COPIES * onnx_mib + SPARE_DISK_MIB:
        found.append(Finding(f"{disk_mib} MiB of disk are free, {DISK_COPIES * onnx_mib + SPARE_DISK_MIB:.0f} are wanted: free some", refuses=True))
    if memory:
        found += _of_memory(board, memory, build_need_mib(onnx_mib) + ROOM_MIB)
    if board.power_mode and not board.power_mode.startswith(_FASTEST):
        found.append(Finding(f"tactics are timed in power mode {board.power_mode}: build in the mode that the drone flies in (nvpmodel -m)", refuses=False))
    return found


def _of_memory(board: Identity, memory: Memory, wanted: float) -> list[Finding]:
    found = []
    cure = "close the desktop (sudo systemctl isolate multi-user.target) and other programs" if board.jetson else "close other programs"
    if memory.available_mib < wanted:
        found.append(Finding(f"{memory.available_mib} MiB of memory are available, a build wants about {wanted:.0f}: {cure}", refuses=board.jetson))
    elif board.jetson and memory.free_mib < _FREE_MIB:
        # The builder asks what is free, and gives up tactics for want of memory that the page cache would hand over.
        drop = "sync; echo 3 | sudo tee /proc/sys/vm/drop_caches"
        found.append(Finding(f"only {memory.free_mib} MiB are free, the page cache holds the rest: `{drop}` lets TensorRT try more tactics", refuses=False))
    if board.jetson and memory.swap_mib == 0:
        found.append(Finding("there is no swap: with some (zram or a file on the NVMe) the CPU's side of the builder may give way to the GPU's", refuses=False))
    return found
