import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from commands import started

from edge import cli
from edge.errors import DataError, InputError
from edge.gtsrb import read_train, split_by_track
from edge.signs import draw_sign
from train import model as vgg
from train import runs
from train.__main__ import _parser
from train.config import Recipe, recipe
from train.evaluate import evaluate_run, predict_paths
from train.fit import _new_model, _resumed_model, choose_precision, fit

REPOSITORY = Path(__file__).resolve().parent.parent
CLASS_IDS = (1, 12, 14, 38)
FRAMES = 8
TINY = Recipe("full", size=32, epochs=3, batch=8, dense=64, scratch_rate=0.02, dropout=0.2, precision="float32")
EPOCHS = 3


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A data set in the csv layout: 4 classes of drawn signs, 3 tracks each; 64 photos to train and 32 held out, 12 to test."""
    root = tmp_path_factory.mktemp("drawn")
    train = [(class_id, track, frame) for class_id in CLASS_IDS for track in range(3) for frame in range(FRAMES)]
    table(root, "Train.csv", [(class_id, f"Train/{class_id}/{class_id:05d}_{track:05d}_{frame:05d}.png") for class_id, track, frame in train])
    table(root, "Test.csv", [(class_id, f"Test/{class_id}{number}.png") for class_id in CLASS_IDS for number in range(3)])
    return root


def table(root, name, rows):
    with (root / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ClassId", "Path"])
        writer.writerows(rows)
    rng = np.random.default_rng(0)
    for class_id, path in rows:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        side = int(rng.integers(24, 60))
        face = draw_sign(class_id, side).astype(np.float32)
        alpha = face[:, :, 3:] / 255
        photo = rng.uniform(40, 200, 3) * (1 - alpha) + face[:, :, :3] * alpha * rng.uniform(0.6, 1)
        cv2.imwrite(str(root / path), photo.astype(np.uint8))


@pytest.fixture(scope="module")
def run(drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    fit(drawn, out, TINY, weights="none", resume=False)
    return out


def options(data, out, *more):
    return ["fit", "--data", str(data), "--out", str(out), "--weights", "none", "--size", "32", "--epochs", str(EPOCHS), *more]


def main(*argv):
    return cli.main(_parser(), [str(word) for word in argv])


def test_a_run_learns_and_keeps_all_that_export_needs(run):
    rows = runs.read_history(run / runs.HISTORY)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    kept = runs.read_run(run)
    assert kept["photos"] == {"train": 64, "valid": 32}
    assert kept["recipe"]["size"] == 32
    assert set(kept["metrics"]["valid"]["per_class"]) == {str(class_id) for class_id in CLASS_IDS}
    assert cv2.imread(str(run / runs.CURVES)).shape[1] > 500
    assert {path.name for path in run.iterdir()} == {runs.ASKED, runs.CHECKPOINT, runs.HISTORY, runs.CURVES, runs.MODEL, runs.RUN}
    model = keras.models.load_model(run / runs.MODEL)
    assert not any(isinstance(layer, vgg.FusedBatchNorm) for layer in model.layers)
    assert all(np.array_equal(w, w.astype(np.float16).astype(np.float32)) for w in model.get_weights())


def test_evaluation_of_the_held_out_tracks_repeats_the_runs_own(run, drawn, tmp_path, capsys):
    document = evaluate_run(run, drawn, "valid", tmp_path / "valid.json")
    assert json.loads((tmp_path / "valid.json").read_text()) == document
    assert {"schema", "command", "machine", "conditions", "started_at", "n", "top1", "per_class"} <= set(document)
    assert {key: document[key] for key in ("n", "top1", "per_class")} == runs.read_run(run)["metrics"]["valid"]
    assert f"top1 {document['top1']:.4f} on 32 photos" in capsys.readouterr().out


def test_evaluation_of_the_test_photos_names_the_worst_classes(run, drawn, capsys):
    document = evaluate_run(run, drawn, "test", None)
    assert document["n"] == 12
    printed = capsys.readouterr().out
    for class_id in CLASS_IDS:
        told = f"of class {class_id} (" in printed
        assert told == (document["per_class"][str(class_id)]["top1"] < 1)


def test_held_out_tracks_of_another_data_set_are_refused(run, drawn, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(drawn, other)
    lines = (other / "Train.csv").read_text().splitlines()
    (other / "Train.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match=r"'valid': 32.*found"):
        evaluate_run(run, other, "valid", None)


def test_predict_names_each_photo_as_the_model_does(run, drawn, capsys):
    paths = sorted((drawn / "Test").iterdir())
    named = predict_paths(run, paths)
    assert [path for path, *_ in named] == paths
    assert all(0 < confidence <= 1 for *_, confidence in named)
    right = np.mean([class_id == int(path.stem[:-1]) for path, class_id, *_ in named])
    assert right == pytest.approx(evaluate_run(run, drawn, "test", None)["top1"])
    capsys.readouterr()
    assert main("predict", run, paths[0]) == 0
    assert capsys.readouterr().out.startswith(f"{paths[0]}: {named[0][1]} {named[0][2]} ")


@pytest.mark.parametrize("text", [None, "", "no image"])
def test_predict_tells_of_an_unreadable_photo_in_one_line(run, tmp_path, capsys, text):
    photo = tmp_path / "broken.png"
    if text is not None:
        photo.write_text(text)
    assert main("predict", run, photo) == 1
    told = capsys.readouterr().err
    assert "broken.png" in told
    assert told.count("\n") == 1


def test_a_resumed_optimizer_goes_on_as_the_unbroken_one(tmp_path):
    rng = np.random.default_rng(0)
    images, targets = rng.integers(0, 256, (8, 32, 32, 3)).astype(np.uint8), np.eye(43, dtype=np.float32)[:8]
    still = Recipe("full", size=32, epochs=3, batch=8, dense=16, dropout=0.0, precision="float32")
    network = _new_model(still, "none", steps=2)
    network.run_eagerly = True  # three steps are not worth a graph
    network.train_on_batch(images, targets)
    network.train_on_batch(images, targets)
    runs.save_model(network, tmp_path / runs.CHECKPOINT)
    resumed = _resumed_model(still, "none", 2, tmp_path / runs.CHECKPOINT)
    resumed.run_eagerly = True
    assert float(resumed.optimizer.learning_rate) == float(network.optimizer.learning_rate)
    for each in (network, resumed):
        each.train_on_batch(images, targets)
    for layer in ("block5_conv3_bn", "dense"):  # the norm's scale is near 1, so that weight decay on it would show
        wanted, found = network.get_layer(layer).get_weights(), resumed.get_layer(layer).get_weights()
        assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(wanted, found, strict=True))


def start(*argv):
    return started([sys.executable, "-m", "train", *argv], REPOSITORY)


def stop_after(process, out, rows, how):
    deadline = time.monotonic() + 180
    while len(runs.read_history(out / runs.HISTORY)) < rows or not (out / runs.CHECKPOINT).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(how)
    _, told = process.communicate(timeout=60)
    return told


def test_an_interrupted_and_a_killed_run_go_on_after_their_last_whole_epoch(drawn, tmp_path, capsys):
    out = tmp_path / "run"
    process = start(*options(drawn, out))
    told = stop_after(process, out, 1, signal.SIGINT)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "python -m train: interrupted"
    assert "Traceback" not in told
    kept = runs.read_history(out / runs.HISTORY)
    process = start(*options(drawn, out, "--resume"))
    stop_after(process, out, len(kept) + 1, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    (out / ".checkpoint.partial.keras").write_bytes(b"half")
    assert main(*options(drawn, out)) == 1
    assert "--resume" in capsys.readouterr().err
    fit(drawn, out, recipe("full", size=32, epochs=EPOCHS), weights="none", resume=True)
    rows = runs.read_history(out / runs.HISTORY)
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    assert rows[0] == kept[0]
    assert runs.read_run(out)["recipe"]["epochs"] == EPOCHS


def test_a_finished_run_resumes_to_the_same_model(run, drawn):
    before = runs.load_model(run / runs.MODEL).get_weights()
    fit(drawn, run, TINY, weights="none", resume=True)
    after = runs.load_model(run / runs.MODEL).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert len(runs.read_history(run / runs.HISTORY)) == TINY.epochs


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_a_damaged_checkpoint_is_one_clear_line(run, drawn, tmp_path, damage):
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(run / runs.ASKED, out)
    blob = (run / runs.CHECKPOINT).read_bytes()
    (out / runs.CHECKPOINT).write_bytes(blob[: len(blob) // 2] if damage == "cut" else b"no model")
    with pytest.raises(InputError, match=r"checkpoint\.keras.*damaged") as caught:
        fit(drawn, out, TINY, weights="none", resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--epochs", "0"], "at least 1 epoch"),
        (["--epochs", "-2"], "at least 1 epoch"),
        (["--seed", "-1"], "seed from 0"),
        (["--size", "16"], "at least 32 px"),
        (["--data", "/nowhere"], "found no Train.csv in /nowhere"),
        (["--out", "/proc/run"], "wanted to write /proc/run"),
        (["--weights", "/nowhere/vgg.h5"], "found no file /nowhere/vgg.h5"),
    ],
)
def test_what_cannot_run_is_one_line_and_leaves_nothing(drawn, tmp_path, capsys, more, told):
    out = tmp_path / "run"
    assert main(*options(drawn, out, *more)) == 1
    printed = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert told in printed
    assert printed.startswith("python -m train: wanted")
    assert not out.exists()


@pytest.mark.parametrize("which", ["train", "valid"])
def test_a_missing_photo_is_named_before_training_starts(run, drawn, tmp_path, capsys, which):
    root = tmp_path / "data"
    shutil.copytree(drawn, root)
    sides = dict(zip(("train", "valid"), split_by_track(read_train(root), 0.1, 0), strict=True))
    lost = sides[which][5].path
    lost.unlink()
    assert main(*options(root, tmp_path / "run")) == 1
    assert lost.name in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_fewer_photos_than_a_batch_are_refused(drawn, tmp_path):
    with pytest.raises(InputError, match="at least one batch of 65"):
        fit(drawn, tmp_path / "run", Recipe("full", size=32, batch=65), weights="none", resume=False)


def test_an_unfinished_run_is_neither_scored_nor_asked(drawn, tmp_path, capsys):
    assert main("evaluate", tmp_path, "--data", drawn, "--split", "valid") == 1
    assert main("evaluate", tmp_path, "--data", drawn, "--split", "test") == 1
    assert main("predict", tmp_path, drawn / "Test" / "10.png") == 1
    assert capsys.readouterr().err.count("python -m train: wanted") == 3


@pytest.mark.parametrize("argv", [[], ["fit"], ["fit", "--data", "x", "--out", "y", "--recipe", "none"], ["evaluate", "r", "--data", "x", "--split", "train"]])
def test_wrong_usage_exits_with_2(argv):
    with pytest.raises(SystemExit) as caught:
        main(*argv)
    assert caught.value.code == 2


def test_without_the_train_extra_the_cure_is_named(tmp_path):
    bare = subprocess.run(
        [sys.executable, "-S", "-m", "train", "predict", "run", "photo.png"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert bare.returncode == 1
    assert "found no module" in bare.stderr
    assert "pip install '.[train]'" in bare.stderr
    assert bare.stderr.count("\n") == 1


def test_a_named_precision_is_kept_and_auto_is_one_that_keras_knows():
    assert choose_precision("mixed_float16") == "mixed_float16"
    assert choose_precision("auto") in {"float32", "mixed_bfloat16", "mixed_float16"}
