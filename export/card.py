"""The model card: what a bundle is, how it was made, how well it does and where it ends. Written from the manifest, so that it cannot say otherwise."""

from __future__ import annotations

from typing import Any

from edge.bundle.manifest import Bundle, ModelSpec
from edge.datasets.classes import classes_of_bundle
from export.artefacts import AIR, SPOTTER
from export.judging.fusion import RECORD as FUSION
from export.judging.threshold import Rejection

CARD = "MODEL_CARD.md"
PICTURE = "robustness.png"

_TEMPLATE = """\
# {name}

A VGG-16{width} that names the {sort} in a crop: uint8 BGR in, {size} x {size} pixels, probabilities of {classes} classes out.
The mean is subtracted inside the graph. It always names a sign, so it is meant to be fed by something that finds signs,
and to be refused below a confidence of {confidence}.

## Data

{data}

## Recipe

Weights: {weights}. {recipe}.
{former}
{origin} All weights are rounded to float16 before any figure was taken.

## Artefacts

| precision | file | for | MB | sha256 |
|---|---|---|---|---|
{files}

fp32 is the fp16 file's weights computed in float32, exactly. Against it, on the {valid} validation photos, by ONNX Runtime on a CPU ({flags}):

| precision | top1 | drop | same class | max error | mean error |
|---|---|---|---|---|---|
{agreement}

ONNX Runtime computes an fp16 file in float32 on such a CPU, and stands in for TensorRT with int8: their lines prove the files, not a GPU's rounding.

int8 and int8-cpu are calibrated on {calibration} training photos (up to {per_class} of each class). Of three methods, the one was kept that loses least on the
validation photos: {methods}.
The weights of int8-cpu keep to {weight_bits} bits, so that processors without VNNI do not saturate.
{aloft}
## Accuracy

{test}By class, int8-cpu on the validation photos (top1 {top1:.4f}):

| id | sign | photos | top1 |
|---|---|---|---|
{by_class}

Few tracks of a class means few physical signs: such a line is a hint, no measurement.
{fewshot}{spotter}
## Robustness

int8-cpu on {photos} of the validation photos, up to {per_class} of each class. Each is corrupted at its own resolution, in the same way each time;
as they are, top1 is {clean:.3f}.

| corruption | strength: mild, middle, strong | mild | middle | strong |
|---|---|---|---|---|
{corruptions}

![Accuracy over the strength of seven corruptions]({picture})

## Confidence

What stays below the confidence threshold is refused, as no sign. Measured in int8-cpu:
{rejection}.

{reliability}

## Limits

{limits}
- Not yet measured on a board.

## Licence and citations

{licence}
- K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015.
"""

_OF_GTSRB = {
    "sort": "German traffic sign",
    "data": """\
The German Traffic Sign Recognition Benchmark (GTSRB): {train} photos to train and {valid} to validate, split by physical sign
(seed {seed}), so that no sign stands on both sides.""",
    "limits": """\
- German signs of GTSRB's {classes} classes only; anything else gets the name of one of them.
- Photos were taken from a car, by day, of upright signs; turned, dark, blurred and compressed ones are made from these. Snow cover was not measured.
- A sign with an arrow that is turned by more than about 50 degrees is told as unsure: it could be another one.
- Crops with a margin of about a tenth on each side, as GTSRB's photos have; tighter or looser crops cost accuracy.""",
    "licence": """\
The weights are under Apache-2.0, as the code. They were trained on GTSRB's photos, whose own terms are yours to check before use.

- J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel: Man vs. computer:
  Benchmarking machine learning algorithms for traffic sign recognition. Neural Networks 32, 2012.""",
    "test": "GTSRB's official test photos",
    "learned": "{train} of GTSDB's frames with signs of GTSRB's photos pasted in, and from drawn scenes and flights",
    "taken": "Its frames were taken from a car, by day, in Germany; views from the air are made from these. For frames of your own, look at\n",
}
_OF_OWN = {
    "sort": "sign",
    "data": """\
A data set of its own: {train} photos to train and {valid} to validate of {classes} classes, split so that neither photos of one sign, as far as
their names tell, nor near duplicates stand on both sides.""",
    "limits": """\
- Signs of these {classes} classes only; anything else gets the name of one of them.
- Turned, dark, blurred and compressed signs are made from the photos. Of few photos, every figure here is a hint.
- Crops with a margin of about a tenth on each side; tighter or looser crops cost accuracy.""",
    "licence": """\
Who gave the photos says what may be done with these weights. Weights that were begun from are under their own licence.
""",
    "test": "the data set's test photos",
    "learned": "{train} of the data set's frames with signs of its photos pasted in",
    "taken": "Views from the air are made from its frames. For other frames, look at\n",
}
"""What a card tells of a data set: GTSRB, or one's own."""

_SPOTTER = """
## The spotter

A fully convolutional network of {parameters:.2f} M parameters and {gflop:.1f} GFLOP finds where signs are in a frame: uint8 BGR in, {width} x {height} pixels
(larger frames are shrunk to fit, smaller ones padded), a map of sign centres and sizes out. Recipe: {recipe}.
{origin}

It learned from {learned}. {tuning} other frames chose the epoch and
its threshold, {threshold}. On {held} more, held out by groups of neighbouring frames, it finds {low:.3f}, {middle:.3f} and {high:.3f} of {signs} signs
of 16 px and more with 0.1, 0.3 and 1 false boxes a frame (IoU 0.5; AP50 {ap50:.3f}), before the classifier refuses any.
{fusion}
| precision | recall at 0.3 false boxes a frame | AP50 | drop | max error of the heat |
|---|---|---|---|---|
{rows}

The table is measured on the {unseen} frames that were not trained on.
{aloft}
It fails on signs below 12 px, on dark and half hidden ones, and takes traffic lights, tail lights and wheels for signs, which the classifier mostly refuses.
{taken}what it misses first: a camera whose signs are smaller than 20 px in {width} x {height} needs a longer lens or a nearer path.
"""

_WEIGHTS = {
    "none": "random at the start, batch norm folded away at the end",
    "drawn": "random at the start, trained on drawn photos and then on real ones, batch norm folded away at the end",
    "imagenet": "ImageNet's, fine-tuned",
}

_FP32_FILE = "| fp32 | classifier.fp16.onnx, widened as it is loaded | onnxruntime | - | - |"


def write_card(bundle: Bundle, by_class: dict[str, Any]) -> str:
    """Write a bundle's model card, Markdown.

    Args:
        bundle: finished, with both stages' records.
        by_class: int8-cpu on the validation photos, as `edge.datasets.gtsrb.score` gives it.
    """
    manifest = bundle.manifest
    train, export = manifest.lineage["train"], manifest.lineage["export"]
    recipe = train["recipe"]
    counts = {"classes": len(manifest.labels), "seed": recipe["seed"], **train["photos"]}
    texts = {key: text.format(**counts) for key, text in _texts(bundle).items() if key in ("sort", "data", "limits", "licence")}
    return _TEMPLATE.format(
        **texts,
        name=manifest.name,
        width=_width(recipe),
        size=manifest.models[0].input.shape[1],
        classes=len(manifest.labels),
        confidence=manifest.thresholds.confidence,
        valid=train["photos"]["valid"],
        weights=_weights(train),
        recipe=_recipe(recipe),
        former=_former(train),
        origin=_origin(train["lineage"], export),
        files="\n".join([_FP32_FILE, *(_file_row(bundle, model) for model in manifest.models)]),
        flags=", ".join(export["cpu_flags"]) or "no vector instructions known",
        agreement="\n".join(_agreement_row(name, figures) for name, figures in export["verification"].items()),
        methods="; ".join(_method(precision, choice) for precision, choice in export["quantization"].items()),
        aloft=_aloft_crops(export.get(AIR)),
        weight_bits=export["calibration"]["int8_cpu_weight_bits"],
        calibration=export["calibration"]["photos"],
        per_class=export["calibration"]["per_class"],
        test=_test_line(export["test"], _texts(bundle)["test"]),
        top1=by_class["top1"],
        by_class="\n".join(f"| {key} | {_cell(row['label'])} | {row['n']} | {row['top1']:.3f} |" for key, row in by_class["per_class"].items()),
        fewshot=_fewshot(train.get("fewshot", [])),
        spotter=_spotter(bundle) if bundle.holds(SPOTTER) else "",
        photos=export["robustness"]["n"],
        clean=export["robustness"]["clean"],
        corruptions="\n".join(_corruption_row(name, figures) for name, figures in export["robustness"]["corruptions"].items()),
        picture=PICTURE,
        rejection=Rejection(**export["rejection"]),
        reliability=_reliability(train["metrics"]["valid"].get("calibration"), recipe["label_smoothing"]),
    )


def _texts(bundle: Bundle) -> dict[str, str]:
    return _OF_OWN if classes_of_bundle(bundle.manifest).own else _OF_GTSRB


def _cell(name: str) -> str:
    return name.replace("|", r"\|")


def _width(recipe: dict[str, Any]) -> str:
    width = recipe.get("width", 1.0)  # older runs know no other
    return f" with {width:.0%} of the channels" if width < 1 else ""


def _weights(train: dict[str, Any]) -> str:
    began = _WEIGHTS.get(train["weights"], "an earlier run's, fine-tuned" if "former" in train else "the user's file, fine-tuned")
    return began + (f", taught by {train['taught_by']['name']} (`{train['taught_by']['sha256'][:16]}`)" if "taught_by" in train else "")


def _recipe(recipe: dict[str, Any]) -> str:
    return "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in recipe.items() if key not in ("seed", "size") and value is not None)


def _former(train: dict[str, Any]) -> str:
    """Tell the runs that came before, the nearest first."""
    if "former" not in train:
        return ""
    former = train["former"]
    told = f"\nBefore that, at {former['recipe']['size']} x {former['recipe']['size']} pixels{_width(former['recipe'])} on {former['photos']['train']} photos; "
    return f"{told}weights: {_weights(former)}. {_recipe(former['recipe'])}.\n{_former(former)}"


def _origin(train: dict[str, Any], export: dict[str, Any]) -> str:
    return " ".join(
        f"{stage} {record['made_at'][:10]} at commit {record['commit'] or 'unknown'}, {', '.join(f'{k} {v}' for k, v in record['versions'].items() if v)}."
        for stage, record in (("Trained", train), ("Exported", export))
    )


def _file_row(bundle: Bundle, model: ModelSpec) -> str:
    megabytes = (bundle.folder / model.file).stat().st_size / 1e6
    return f"| {model.precision} | {model.file} | {model.target} | {megabytes:.1f} | `{model.sha256[:16]}` |"


def _method(precision: str, choice: dict[str, Any]) -> str:
    kept = f", with {', '.join(choice['kept_in_float'])} left in float" if choice["kept_in_float"] else ""
    return f"{choice['method']} for {precision}{kept}"


def _agreement_row(name: str, figures: dict[str, float]) -> str:
    label = "Keras, before conversion" if name == "keras" else name
    return (
        f"| {label} | {figures['top1']:.4f} | {figures['drop']:.4f} | {figures['agreement']:.4f} | {figures['max_error']:.2g} | {figures['mean_error']:.2g} |"
    )


def _test_line(test: dict[str, Any], photos: str) -> str:
    return f"On {test['n']} of {photos} {test['precision']} reaches top1 {test['top1']:.4f}.\n\n" if test else ""


def _fewshot(records: list[dict[str, Any]]) -> str:
    """Tell what the recipe of few photos reaches, where it was measured."""
    rows = [
        f"| {record['per_class']} | {record['weights']} | {len(record['seeds'])} | {record['n']} | {record['top1']:.4f} | {record['top1_std']:.4f} |"
        for record in records
    ]
    if not rows:
        return ""
    head = "| photos a class | weights | seeds | test photos | top1, mean | standard deviation |\n|---|---|---|---|---|---|"
    return "\n".join(["\n## With few photos\n\nNot this model: what the recipe fewshot reaches, in fp32 by Keras.\n", head, *rows, ""])


def _spotter(bundle: Bundle) -> str:
    record = bundle.manifest.lineage[SPOTTER]
    train, export = record["train"], record["export"]
    valid = train["metrics"]["valid"]
    _, height, width, _ = bundle.model(SPOTTER, "fp16").input.shape
    rows = [
        f"| {'Keras, before conversion' if name == 'keras' else name} | {f['recall']:.4f} | {f['ap50']:.4f} | {f['drop']:.4f} | {f['max_error']:.2g} |"
        for name, f in export["verification"].items()
    ]
    return _SPOTTER.format(
        parameters=train["parameters"] / 1e6,
        gflop=train["flop"] / 1e9,
        width=width,
        height=height,
        recipe=_recipe(train["recipe"]),
        origin=f"Trained {train['lineage']['made_at'][:10]} at commit {train['lineage']['commit'] or 'unknown'}.",
        learned=_texts(bundle)["learned"].format(train=train["frames"]["train"]),
        taken=_texts(bundle)["taken"],
        tuning=train["frames"]["tuning"],
        held=train["frames"]["valid"],
        threshold=bundle.manifest.thresholds.spotter,
        signs=valid["signs"],
        low=valid["recall_at_0.1"],
        middle=valid["recall_at_0.3"],
        high=valid["recall_at_1"],
        ap50=valid["ap50"],
        rows="\n".join(rows),
        unseen=export["verification"]["fp32"]["n"],
        fusion=_fusion(bundle),
        aloft=_aloft(export.get(AIR)),
    )


def _aloft(found: dict[str, Any] | None) -> str:
    """Tell what the artefacts find in a drone's views, where that was measured."""
    if found is None:
        return ""
    rows = [f"| {name} | {f['recall']:.4f} | {f['ap50']:.4f} | {f['drop']:.4f} |" for name, f in found.items()]
    head = f"\nThe same on {found['fp32']['n']} views of these frames from the air, of {found['fp32']['signs']} signs:\n\n"
    return head + "| precision | recall at 0.3 false boxes a frame | AP50 | drop |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _aloft_crops(found: dict[str, Any] | None) -> str:
    """Tell what the classifier's artefacts name in a drone's views, where that was measured."""
    if found is None:
        return ""
    rows = [f"| {name} | {f['top1']:.4f} | {f['drop']:.4f} |" for name, f in found.items()]
    head = f"\nThe same photos turned, foreshortened, blurred, dark, foggy, noisy or strongly compressed, one way each ({found['fp32']['n']}):\n\n"
    return head + "| precision | top1 | drop |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _fusion(bundle: Bundle) -> str:
    """Tell how both models decide together, where they do."""
    fusion, record = bundle.manifest.thresholds.fusion, bundle.manifest.lineage[SPOTTER].get(FUSION)
    if fusion is None or record is None:
        return ""
    held, second = record["held"], fusion.second
    told = {"together": held["together"], f"confidence of {bundle.manifest.thresholds.confidence} alone": held["apart"]}
    told = {"together, looked at again": held["second"], **told} if second else told
    rows = [f"| {name} | {f['recall']:.4f} | {f['precision']:.4f} | {f['f1']:.4f} | {f['false_a_frame']:.3f} |" for name, f in told.items()]
    again = (
        "\nWhat is about to be announced is looked at again, enlarged by half and to twice its size: likely proposals of a still, of moving pictures a track\n"
        f"that has its votes. Then it is a sign where {second.score} logit(score) + {second.closer} logit(score from nearer) + {second.confidence} "
        f"logit(confidence)\n{second.bias:+} is 0 or more, fitted likewise, and as strict as gives the frames that chose the epoch their best F1.\n"
        if second
        else ""
    )
    return (
        f"\nIts score and the classifier's confidence decide together: a box is a sign where {fusion.score} logit(score) + {fusion.confidence} "
        f"logit(confidence)\n{fusion.bias:+} is 0 or more, a logistic regression on {record['boxes']} boxes, {record['signs']} of them signs, of "
        f"{record['frames']} views\nof frames: those that were trained on, and those that chose the epoch, as they are, noisier, darker, brighter and "
        f"compressed, and from the air: turned, foreshortened, blurred, dim, foggy, strongly compressed.{again}\nOn the {held['frames']} frames held out:\n\n"
        "| decided by | recall | precision | F1 | false boxes a frame |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def _corruption_row(name: str, figures: dict[str, Any]) -> str:
    strengths = ", ".join(f"{strength:g}" for strength in figures["strengths"])
    return f"| {name.replace('_', ' ')} | {figures['means']}: {strengths} | {' | '.join(f'{top1:.3f}' for top1 in figures['top1'])} |"


def _reliability(figures: dict[str, Any] | None, smoothing: float) -> str:
    if figures is None:
        return f"Training smooths the labels by {smoothing} and nothing is calibrated afterwards: read confidences as an order, not as odds."
    before, after = figures["before"], figures["after"]
    return (
        f"The logits are divided by a temperature of {figures['temperature']:.3f} inside the last layer's weights, fitted on the validation photos\n"
        f"after training with labels smoothed by {smoothing}. On the same photos, before and after: mean confidence {before['confidence']:.4f} and\n"
        f"{after['confidence']:.4f}, expected calibration error (15 bins) {before['ece']:.4f} and {after['ece']:.4f}, negative log-likelihood "
        f"{before['nll']:.4f} and {after['nll']:.4f}."
    )
