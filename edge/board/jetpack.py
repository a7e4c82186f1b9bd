"""Which JetPack a release of Jetson Linux belongs to, what it brings, and whether this project runs on it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class JetPack:
    """What a JetPack brings.

    Attributes:
        name: such as "6.2".
        l4t: the start of its Jetson Linux release, such as (36, 4).
        python: of the system, and of TensorRT's bindings.
        tensorrt: version of the library.
        cuda: version of the toolkit.
        refusal: why this project does not run on it; empty if it does.
    """

    name: str
    l4t: tuple[int, ...]
    python: tuple[int, int]
    tensorrt: str
    cuda: str
    refusal: str = ""


_TOO_OLD = "update to JetPack 6.1 or newer"
JETPACKS = (
    JetPack("5.1", (35,), (3, 8), "8.5", "11.4", f"it brings Python 3.8 and TensorRT 8.5: {_TOO_OLD}"),
    JetPack("6.0", (36, 3), (3, 10), "8.6", "12.2", f"it brings TensorRT 8.6: {_TOO_OLD}"),
    JetPack("6.1 or 6.2", (36, 4), (3, 10), "10.3", "12.6"),
    JetPack("6.2.2", (36, 5), (3, 10), "10.3", "12.6"),
    JetPack("7.0 or 7.1", (38,), (3, 12), "10.13", "13.0", "it is for the Thor alone: an Orin takes JetPack 6.2 or 7.2"),
    JetPack("7.2", (39, 2), (3, 12), "10.16", "13.2"),
)
SUPPORTED = "JetPack 6.1, 6.2 or 7.2 (Jetson Linux 36.4, 36.5 or 39.2)"


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers at the start of a version, (36, 4, 7)."""
    start = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, start[0].split("."))) if start else ()


def jetpack_of(l4t: str) -> JetPack | None:
    """Return the JetPack of a Jetson Linux release, None for one that is not known here."""
    version = parse_version(l4t)
    return next((jetpack for jetpack in JETPACKS if version[: len(jetpack.l4t)] == jetpack.l4t), None)


def refusal(l4t: str) -> str:
    """Return why this project does not run on a Jetson Linux release; empty if it does."""
    jetpack = jetpack_of(l4t)
    if jetpack is None:
        return f"wanted {SUPPORTED}, found Jetson Linux {l4t}, which is not known to this version: take a release that is"
    return f"wanted {SUPPORTED}, found JetPack {jetpack.name} (Jetson Linux {l4t}), {jetpack.refusal}" if jetpack.refusal else ""
