"""Two sets of results side by side: what got better and what got worse, beyond a band that noise may fill."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report.results import Figure, figures_of, read_results
from edge.errors import InputError, VerificationError

SAME, BETTER, WORSE = "same", "better", "worse"
TOP1_BAND = 0.002
"""Of accuracy, whose noise is no share of it."""


def compare(before: Path, after: Path, band: float) -> list[tuple[Figure, float, str]]:
    """Print a table of the figures that both files hold, the median of each where a file holds several.

    Args:
        before: a result, or what `benchmarks all` gathered.
        after: the same, later or elsewhere.
        band: relative change up to which a figure counts as the same, such as 0.1.

    Returns:
        Each figure of `after`, what it was before, and `SAME`, `BETTER` or `WORSE`.

    Raises:
        InputError: a file that is no result, or nothing that both sides hold.
        VerificationError: a figure is worse; the table is printed first.
    """
    sides = read_results([before]), read_results([after])
    former, latter = (_medians(documents) for documents in sides)
    rows = [(figure, former[key].value, judge(former[key].value, figure, band)) for key, figure in latter.items() if key in former]
    if not rows:
        raise InputError("wanted results that hold a figure in common, found none: give results of the same benchmarks, engines and sizes")
    machines = [sorted({str(document["machine"].get("board") or document["machine"].get("cpu")) for document in side}) for side in sides]
    if machines[0] != machines[1]:
        print(f"other machines: {', '.join(machines[0])} before, {', '.join(machines[1])} after: times compare the machines as much as the code")
    print(f"{'before':>10} {'after':>10} {'change':>8}          figure (same: within {band:.0%}; top-1: within {TOP1_BAND})")
    for figure, old, verdict in rows:
        print(f"{old:>10.4g} {figure.value:>10.4g} {_change(old, figure):>+8.1%} {verdict:>7}   {figure.of}: {figure.name}")
    worse = [figure for figure, _, verdict in rows if verdict == WORSE]
    if worse:
        raise VerificationError(f"wanted figures no worse than before, {len(worse)} of {len(rows)} are: look at the table; noise needs a quiet machine")
    return rows


def judge(old: float, figure: Figure, band: float) -> str:
    """Say whether a figure is the same as before, better or worse."""
    change = figure.value - old if figure.name == "top1" else _change(old, figure)
    if abs(change) <= (TOP1_BAND if figure.name == "top1" else band):
        return SAME
    return BETTER if (change > 0) == figure.more_is_better else WORSE


def _change(old: float, figure: Figure) -> float:
    return (figure.value - old) / old if old else float(figure.value != old)


def _medians(documents: Iterable[dict[str, Any]]) -> dict[tuple[str, str], Figure]:
    found: dict[tuple[str, str], list[Figure]] = {}
    for document in documents:
        for figure in figures_of(document):
            found.setdefault((figure.of, figure.name), []).append(figure)
    return {key: Figure(*key, median(figure.value for figure in figures), figures[0].more_is_better) for key, figures in found.items()}
