"""Tells what machine this is, what is wrong with it for this project, and what cures it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from edge.board.identity import SYSTEM
from edge.bundle.lineage import now, result
from edge.commands.doctor import outputs
from edge.commands.doctor.facts import Facts, read_facts
from edge.commands.doctor.findings import judge
from edge.errors import MachineError
from edge.files import write_json
from edge.outside.text import shown, without_credentials


def doctor(source: str | None, bundle: Path | None, json_path: Path | None, root: Path = SYSTEM) -> None:
    """Print what this machine is and what is wrong; with a source, what would be opened for it, and whether frames come.

    Args:
        source: to be tried, or None.
        bundle: its folder; None looks at the machine alone, on which nothing need be deployed yet.
        json_path: where facts and findings go, or None.
        root: where the machine's file system starts.

    Raises:
        MachineError: something is broken; it was printed with its cure.
        OutputError: `json_path` cannot be written.
    """
    started_at = now()
    facts = read_facts(bundle, root)
    findings = judge(facts)
    for name, value in _shown(facts):
        print(f"{name:<14}{shown(value)}")
    tried = None
    if source is not None:
        from edge.commands.doctor.trial import TRIED_S, try_source

        tried, found = try_source(source, TRIED_S)
        findings += found
        for name, value in tried.items():
            print(f"{name:<14}{shown(value)}")
    for finding in findings:
        print(f"\n{finding.severity}: {shown(finding.text)}\n    {shown(finding.cure)}")
    broken = sum(finding.severity == "broken" for finding in findings)
    if json_path is not None:
        figures = {"facts": asdict(facts), "findings": [asdict(finding) for finding in findings], "source": tried, "broken": broken}
        write_json(json_path, result("edge doctor", started_at, {"bundle": bundle and str(bundle), "source": source and without_credentials(source)}, figures))
    if broken:
        raise MachineError(f"wanted a machine that everything works on, found {broken} thing{'s' * (broken > 1)} broken: the cures stand above")
    print(f"\nnothing is broken{f', {len(findings)} to know' if findings else ''}")


def _shown(facts: Facts) -> list[tuple[str, str]]:
    board, memory, clocks = facts.board, facts.memory, facts.clocks
    opencv = facts.libraries["cv2"]
    rows = [
        ("machine", board.model or "a PC"),
        ("Jetson Linux", f"{board.l4t} (JetPack {facts.jetpack or 'unknown'})" if board.l4t else ""),
        ("power mode", board.power_mode or ""),
        ("CPU clock", _clock(clocks.cpu, clocks.cpu_max) + (f", {clocks.governor}" if clocks.governor else "") if clocks.cpu_max else ""),
        ("GPU clock", _clock(clocks.gpu, clocks.gpu_max) if clocks.gpu_max else ""),
        ("memory", f"{memory.available_mib} of {memory.total_mib} MiB available" if memory else ""),
        ("swap", f"{memory.swap_mib} MiB{f', {facts.zram_mib} of it zram' if facts.zram_mib else ''}" if memory else ""),
        ("disk", f"{facts.disk_mib} MiB free"),
        ("Python", ".".join(map(str, facts.python))),
        ("OpenCV", f"{opencv.version}, {'with' if opencv.gstreamer else 'without'} GStreamer" if opencv.version else "none"),
        *((name, library.version or "none") for name, library in facts.libraries.items() if name != "cv2"),
        ("CUDA", facts.cuda or ""),
        ("temperature", f"{max(facts.temperatures_c.values()):.0f} degrees" if facts.temperatures_c else ""),
        ("bundle", facts.bundle or ("none" if facts.bundle_fault else "")),
        ("engines", ", ".join(facts.engines)),
        ("outputs", outputs.shown(facts.absent)),
    ]
    return [(name, value) for name, value in rows if value]


def _clock(now_mhz: int | None, most_mhz: int | None) -> str:
    return f"{f'{now_mhz} of ' if now_mhz is not None else 'up to '}{most_mhz} MHz"
