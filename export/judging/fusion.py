"""How spotter and classifier decide together, chosen on frames of the training groups and told on those held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.bundle.fusion import Fusion, SecondLook, logit
from edge.bundle.manifest import Bundle
from edge.datasets.aerial import MIXTURE, mixture
from edge.datasets.gtsdb import RoadFrame, find_frames, paint_out, read_sides
from edge.engines.open import open_engine
from edge.geometry.boxes import iou_matrix
from edge.images import read_image
from edge.recognition.classifier import Classifier
from edge.recognition.finding import MATCH_IOU, Findings, counted, judge
from edge.recognition.proposals import Proposals
from edge.recognition.spotter_learned import LearnedSpotter
from export.artefacts import ROLE, SPOTTER
from export.judging.robustness import CORRUPTIONS, SEED

RECORD = "fusion"
PRECISION = "int8-cpu"
PROPOSED_FALSE = 2.0
"""False boxes a frame that the spotter's threshold lets through on the tuning frames: each costs the classifier a crop."""
VARIED_BY = ("noise", "dark", "bright", "jpeg")
"""How the tuning frames are shown again, each mildly (`export.judging.robustness`): few frames are left that nothing was trained on."""
LEAST_SCORE = 0.02
_BESIDE_IOU = 0.2
"""From this overlap with a sign on, up to that of a hit, a box is neither: part of it is the sign."""
_STEPS, _RIDGE = 50, 1e-3
_TRAINED_VIEWS = 1


@dataclass(frozen=True)
class _Seen:
    """A frame's true boxes, (m, 4) float64, what the spotter proposes in it, the classifier's confidence in each, (n,) float64, and its score from nearer.

    True boxes may reach beyond the frame, of `size_wh`.
    """

    size_wh: tuple[int, int]
    truth_xyxy: NDArray[np.float64]
    proposals: Proposals
    confidences: NDArray[np.float64]
    closer: NDArray[np.float64]


def fused(bundle: Bundle, data: Path) -> Bundle:
    """Choose a bundle's spotter threshold and fusion; one without a spotter, or without frames at hand, is given back as it is.

    The threshold is chosen on the tuning groups, which the spotter was not trained on, nor a taught classifier on what seems a sign there: as they are, and
    as a drone sees them (`edge.datasets.aerial.MIXTURE`). The fusion is fitted to these, to the tuning frames in other light, and to the trained groups, whose
    signs are many but where little is left that deceives, each as it is and in one of the drone's views. All are shown
    with their signs painted out, too: most frames of a flight have none. What is more likely a sign than not is accepted.

    Args:
        bundle: its files are in place; of its thresholds the classifier's alone is looked at.
        data: where GTSDB's frames are found.

    Returns:
        The bundle with both, and in the spotter's lineage a record `fusion`: `frames` (views of them), `boxes` and `signs` that it was chosen on, and of the
        frames `held` out `recall`, `precision`, `f1` and `false_a_frame`: at the `second` look, at the first (`together`), and with both thresholds for
        themselves (`apart`).

    Raises:
        BundleError: a damaged or missing artefact.
        DataError: no frames, or too few.
        InputError: a frame that cannot be read.
    """
    if not bundle.holds(SPOTTER) or find_frames(data) is None:
        return bundle
    sides = read_sides(data)
    trained_too = chain(map(_read, sides.train), _turned(sides.train, _TRAINED_VIEWS))
    silent_too = chain(_silent(sides.tuning, None), _silent(sides.train, _TRAINED_VIEWS))
    looked_at = chain(map(_read, sides.tuning), _varied(sides.tuning)), _turned(sides.tuning), trained_too, silent_too, map(_read, sides.held)
    level, turned, trained, silent, held = (_look(bundle, frames) for frames in looked_at)
    threshold = float(max(np.floor(_ranked([*level[: len(sides.tuning)], *turned]).score_at(PROPOSED_FALSE) * 1000) / 1000, LEAST_SCORE))
    examples = [_examples(one, threshold) for one in (*level, *turned, *trained, *silent)]
    (scores, closer, confidences), labels = (np.concatenate(parts, axis=-1) for parts in zip(*examples, strict=True))
    apart = Fusion(0.0, 1.0, -float(logit(bundle.manifest.thresholds.confidence)))
    score, confidence, bias = fit((scores, confidences), labels)
    fusion = Fusion(score, confidence, bias, SecondLook(*fit((scores, closer, confidences), labels)))
    thresholds = replace(bundle.manifest.thresholds, spotter=threshold, fusion=fusion)
    record: dict[str, Any] = {
        "frames": len(examples),
        "boxes": len(labels),
        "signs": int(labels.sum()),
        "held": {
            "frames": len(held),
            "second": _figures(_findings(held, threshold, fusion)),
            "together": _figures(_findings(held, threshold, replace(fusion, second=None))),
            "apart": _figures(_findings(held, threshold, apart)),
        },
    }
    print(f"{fusion} from {threshold} on; frames held out: {record['held']}")
    lineage = {**bundle.manifest.lineage, SPOTTER: {**bundle.manifest.lineage[SPOTTER], RECORD: record}}
    return Bundle(bundle.folder, replace(bundle.manifest, thresholds=thresholds, lineage=lineage))


def fit(probabilities: Sequence[NDArray[np.float64]], labels: NDArray[np.bool_]) -> list[float]:
    """Fit a logistic regression on logits by Newton's method (C. Bishop, "Pattern Recognition and Machine Learning", 2006, 4.3.3).

    A slight ridge holds it where the data are separable.

    Args:
        probabilities: what each box is judged by, (n,) 0 to 1 each.
        labels: (n,) whether a box is a sign.

    Returns:
        A weight for each of `probabilities`, and the bias.
    """
    inputs = np.stack([*map(logit, probabilities), np.ones(len(labels))], axis=1)
    weights = np.zeros(inputs.shape[1])
    for _ in range(_STEPS):
        likely = 1 / (1 + np.exp(-(inputs @ weights)))
        slope = inputs.T @ (likely - labels) + _RIDGE * weights
        curve = (inputs * (likely * (1 - likely))[:, None]).T @ inputs + _RIDGE * np.eye(len(weights))
        weights -= np.linalg.solve(curve, slope)
    return [round(float(weight), 4) for weight in weights]


View = tuple[NDArray[np.uint8], NDArray[np.float64]]


def _read(frame: RoadFrame) -> View:
    return read_image(frame.path), frame.boxes_xyxy


def _varied(frames: Sequence[RoadFrame]) -> Iterator[View]:
    """Show frames again, as other light and a worse camera would."""
    for place, frame in enumerate(frames):
        image = read_image(frame.path)
        for corruption in (CORRUPTIONS[name] for name in VARIED_BY):
            yield corruption.apply(image, corruption.strengths[0], np.random.default_rng([SEED, place])), frame.boxes_xyxy


def _turned(frames: Sequence[RoadFrame], most: int | None = None) -> Iterator[View]:
    """Show frames again, as a drone sees them, each in so many of the views that are its own, or in all."""
    for place, frame in enumerate(frames):
        views = list(mixture(read_image(frame.path), frame.boxes_xyxy, place))
        first = place // len(MIXTURE) % len(views) if most else 0
        yield from views[first : first + most] if most else views


def _silent(frames: Sequence[RoadFrame], most: int | None) -> Iterator[View]:
    """Show frames whose signs are painted out, as they are, and as a drone sees them, in so many of its views or in all."""
    for place, frame in enumerate(frames):
        bare, none = paint_out(read_image(frame.path), frame.boxes_xyxy), np.zeros((0, 4))
        yield bare, none
        yield from islice(mixture(bare, none, place), most)


def _look(bundle: Bundle, frames: Iterable[View]) -> list[_Seen]:
    seen = []
    with (
        LearnedSpotter(open_engine(bundle, SPOTTER, engine="onnxruntime", precision=PRECISION), LEAST_SCORE) as spotter,
        Classifier(open_engine(bundle, ROLE, engine="onnxruntime", precision=PRECISION), 0.0) as classifier,
    ):
        for image, boxes in tqdm(frames, "spotting and naming", unit="frame", disable=None):
            proposals = spotter(image)
            namings = classifier.name_in(image, proposals.boxes_xyxy)
            confidences = np.array([naming.confidence for naming in namings], np.float64)
            closer = spotter.look_closer(image, proposals.boxes_xyxy, proposals.scores).astype(np.float64)
            seen.append(_Seen((image.shape[1], image.shape[0]), boxes, proposals, confidences, closer))
    return seen


def _examples(seen: _Seen, threshold: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores, scores from nearer and confidences, (3, n), and labels, (n,), of a frame's proposals from a threshold on.

    Those about small signs, or that hold a part of one, are left out.
    """
    overlaps = np.concatenate([iou_matrix(seen.proposals.boxes_xyxy, seen.truth_xyxy), np.zeros((len(seen.proposals), 1))], axis=1)
    nearest = overlaps.argmax(axis=1)
    large = np.append(counted(seen.truth_xyxy, seen.size_wh), True)
    overlap = overlaps.max(axis=1)
    hits = overlap >= MATCH_IOU
    kept = (seen.proposals.scores >= threshold) & np.where(hits, large[nearest], overlap < _BESIDE_IOU)
    return np.stack([seen.proposals.scores, seen.closer, seen.confidences])[:, kept].astype(np.float64), hits[kept]


def _ranked(looks: Sequence[_Seen]) -> Findings:
    """Judge all that is proposed, ranked by its score."""
    return judge(((one.proposals, one.truth_xyxy) for one in looks), (one.size_wh for one in looks))


def _findings(looks: Sequence[_Seen], threshold: float, fusion: Fusion) -> Findings:
    """Judge what is accepted, ranked by its margin."""
    return judge(((_accepted(one, threshold, fusion), one.truth_xyxy) for one in looks), (one.size_wh for one in looks))


def _accepted(seen: _Seen, threshold: float, fusion: Fusion) -> Proposals:
    scores = seen.proposals.scores
    margins = fusion.second.margin(scores, seen.closer, seen.confidences) if fusion.second else fusion.margin(scores, seen.confidences)
    order = [place for place in np.argsort(-margins, kind="stable") if margins[place] >= 0 and scores[place] >= threshold]
    return Proposals(seen.proposals.boxes_xyxy[order], margins[order].astype(np.float32))


def _figures(findings: Findings) -> dict[str, float]:
    hits, told = int(findings.hits.sum()), len(findings.hits)
    return {
        "signs": findings.signs,
        "recall": round(hits / findings.signs, 4) if findings.signs else 1.0,
        "precision": round(hits / told, 4) if told else 1.0,
        "f1": round(2 * hits / (findings.signs + told), 4) if told else 0.0,
        "false_a_frame": round((told - hits) / findings.frames, 4),
    }
