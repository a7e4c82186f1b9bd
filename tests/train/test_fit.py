import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import cv2
import keras
import numpy as np
import pytest
from commands import started
from training import EPOCHS, MODELS, REPOSITORY, main, options, signs, table

from edge.datasets.gtsrb import Split, read_train, split_by_track
from edge.errors import DataError, InputError, OutputError
from train.evaluate import evaluate_runs, predict_paths
from train.fit import _network, _whole, fit
from train.memory import Plan
from train.networks import vgg
from train.networks.compiled import compiled
from train.networks.precision import in_policy
from train.photos.data import plan_epoch
from train.photos.views import DRAWN, REAL, SIGN_FREE
from train.recipes import FEWSHOT, TUTORIAL, Recipe, recipe
from train.report.page import REPORT
from train.runs import folder as runs

CLASS_IDS = (1, 12, 14, 38)
TINY = recipe("full", size=32, width=0.25, epochs=EPOCHS, precision="float32")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A data set in the csv layout: 4 classes of drawn signs, 3 tracks each; 64 photos to train and 32 held out, 12 to test."""
    root = tmp_path_factory.mktemp("drawn")
    table(root, "Train.csv", signs(CLASS_IDS, 3, 8))
    table(root, "Test.csv", [(class_id, f"Test/{class_id}{number}.png") for class_id in CLASS_IDS for number in range(3)])
    return root


@pytest.fixture(scope="module")
def run(drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(*options(drawn, out)) == 0
    return out


def test_a_run_learns_and_keeps_all_that_export_needs(run):
    rows = runs.read_history(run / runs.HISTORY)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    kept = runs.read_run(run)
    assert kept["photos"] == {"train": 64, "valid": 32}
    assert kept["recipe"] == asdict(TINY)
    valid = kept["metrics"]["valid"]
    assert set(valid["per_class"]) == {str(class_id) for class_id in CLASS_IDS}
    assert set(valid["calibration"]["after"]) == set(valid["calibration"]["before"]) == {"ece", "nll", "confidence"}
    assert kept["environment"]["precision"] == "float32"
    assert kept["peak_memory"]["host_peak_mib"] > 300
    assert kept["seconds"] == round(sum(row["seconds"] for row in rows))
    assert cv2.imread(str(run / runs.CURVES)).shape[1] > 500
    files = {path.name for path in run.iterdir()}
    assert {runs.ASKED, runs.CHECKPOINT, runs.BEST, runs.HISTORY, runs.CURVES, runs.MODEL, runs.RUN, REPORT} <= files
    assert not [name for name in files if "partial" in name]
    model = keras.models.load_model(run / runs.MODEL)
    assert not any(isinstance(layer, vgg.FusedBatchNorm) for layer in model.layers)
    assert all(np.array_equal(w, w.astype(np.float16).astype(np.float32)) for w in model.get_weights())


def test_evaluation_of_the_held_out_tracks_repeats_the_runs_own(run, drawn, tmp_path, capsys):
    document = evaluate_runs([run], drawn, "valid", tmp_path / "valid.json")
    assert json.loads((tmp_path / "valid.json").read_text()) == document
    assert {"schema", "command", "machine", "conditions", "started_at", "n", "top1", "per_class"} <= set(document)
    assert {key: document[key] for key in ("n", "top1", "per_class")} == {
        key: runs.read_run(run)["metrics"]["valid"][key] for key in ("n", "top1", "per_class")
    }
    assert f"top1 {document['top1']:.4f} on 32 photos" in capsys.readouterr().out


def test_evaluation_of_the_test_photos_names_the_worst_classes(run, drawn, capsys):
    document = evaluate_runs([run], drawn, "test", None)
    assert document["n"] == 12
    printed = capsys.readouterr().out
    for class_id in CLASS_IDS:
        told = f"of class {class_id} (" in printed
        assert told == (document["per_class"][str(class_id)]["top1"] < 1)


def test_a_run_that_starts_from_anothers_model_tells_how_that_was_trained(run, tmp_path):
    kept = runs.read_run(run)
    assert runs.former(str(run / runs.MODEL)) == {"former": {key: kept[key] for key in ("recipe", "weights", "photos")}}
    assert runs.former("imagenet") == runs.former("none") == runs.former(str(tmp_path / "vgg16_weights.h5")) == {}


def test_several_runs_give_their_mean_and_spread(run, drawn, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    model = keras.models.load_model(other / runs.MODEL)
    logits = model.get_layer("logits")
    logits.set_weights([np.zeros_like(weight) for weight in logits.get_weights()])  # names class 0 whatever it sees
    model.save(other / runs.MODEL)
    document = evaluate_runs([run, other], drawn, "test", None)
    first, second = (figures["top1"] for figures in document["runs"])
    assert first == evaluate_runs([run], drawn, "test", None)["top1"] != second
    assert document["top1"] == pytest.approx((first + second) / 2)
    assert document["top1_std"] == pytest.approx(abs(first - second) / 2**0.5)
    assert [told["run"] for told in document["conditions"]["runs"]] == [str(run), str(other)]
    assert f"top1 {document['top1']:.4f} in the mean of 2 runs, standard deviation {document['top1_std']:.4f}" in capsys.readouterr().out


def test_held_out_tracks_of_another_data_set_are_refused(run, drawn, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(drawn, other)
    lines = (other / "Train.csv").read_text().splitlines()
    (other / "Train.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match=r"'valid': 32.*found"):
        evaluate_runs([run], other, "valid", None)


def test_predict_names_each_photo_as_the_model_does(run, drawn, capsys):
    paths = sorted((drawn / "Test").iterdir())
    named = predict_paths(run, paths)
    assert [path for path, *_ in named] == paths
    assert all(0 < confidence <= 1 for *_, confidence in named)
    right = np.mean([class_id == int(path.stem[:-1]) for path, class_id, *_ in named])
    assert right == pytest.approx(evaluate_runs([run], drawn, "test", None)["top1"])
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


def test_float16_trains_with_its_loss_scaled():
    with in_policy("mixed_float16"):
        network = compiled(TINY, "none", 2)
    assert network.dtype_policy.name == "mixed_float16"  # what its checkpoint will say
    assert isinstance(network.optimizer, keras.optimizers.LossScaleOptimizer)
    assert float(network.optimizer.learning_rate) > 0


def stop_after(process, out, rows, by=signal.SIGKILL):
    """Stop a process that trains once its history has so many rows and their checkpoint is there; returns what it said."""
    deadline = time.monotonic() + 300
    while len(runs.read_history(out / runs.HISTORY)) < rows or not (out / runs.CHECKPOINT).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(by)
    return process.communicate(timeout=60)


def test_an_interrupted_run_says_so_and_ends(drawn, tmp_path):
    out = tmp_path / "run"
    _, told = stop_after(started([sys.executable, "-m", "train", *map(str, options(drawn, out)), "--epochs", "999"], REPOSITORY), out, 1, signal.SIGINT)
    assert told.endswith("python -m train: interrupted\n")
    assert runs.read_progress(out).epochs >= 1


def test_a_killed_run_goes_on_after_its_last_whole_epoch_as_if_unbroken(run, drawn, tmp_path, capsys):
    out = tmp_path / "run"
    process = started([sys.executable, "-m", "train", *map(str, options(drawn, out))], REPOSITORY)
    stop_after(process, out, 1)
    assert process.returncode == -signal.SIGKILL
    assert runs.read_progress(out).epochs == 1
    (out / ".checkpoint.partial.keras").write_bytes(b"half")
    assert main(*options(drawn, out)) == 1
    assert "--resume" in capsys.readouterr().err

    assert main(*options(drawn, out, "--resume")) == 0
    wanted, found = runs.read_history(run / runs.HISTORY), runs.read_history(out / runs.HISTORY)
    assert [row["epoch"] for row in found] == list(range(1, EPOCHS + 1))
    for key in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        assert [row[key] for row in found] == pytest.approx([row[key] for row in wanted], rel=1e-3)


def test_a_run_that_nothing_betters_only_finishes_and_a_full_disk_leaves_nothing_half_written(run, drawn, tmp_path):
    patient, out = replace(TINY, epochs=9, patience=1), tmp_path / "run"
    out.mkdir()
    for name in (runs.CHECKPOINT, runs.BEST):
        shutil.copy(run / name, out)
    (out / runs.ASKED).write_text(json.dumps({"recipe": asdict(patient), "weights": "none", "data": str(drawn)}))
    rows = [{**row, "val_loss": loss} for row, loss in zip(runs.read_history(run / runs.HISTORY), (1.0, 2.0), strict=True)]
    runs.write_history(rows, out / runs.HISTORY)
    files = {path.name for path in out.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))  # the model has 4 MB
    try:
        with pytest.raises(OutputError, match=r"wanted to write .*model\.keras"):
            fit(drawn, out, patient, weights="none", resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name for path in out.iterdir()} == files
    assert runs.read_history(out / runs.HISTORY) == rows
    assert runs.read_progress(out).epochs == EPOCHS


def test_a_damaged_checkpoint_is_one_clear_line(run, drawn, tmp_path, capsys):
    shutil.copy(run / runs.ASKED, tmp_path)
    (tmp_path / runs.CHECKPOINT).write_bytes((run / runs.CHECKPOINT).read_bytes()[:1_000_000])
    assert main(*options(drawn, tmp_path, "--resume")) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("python -m train: wanted a whole checkpoint in")
    assert "remove it to begin anew" in told


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
        (["--weights", "drawn", "--out", "/proc/run"], "wanted to write /proc/run"),
        (["--features", "cached"], "give --features computed"),
        (["--recipe", "tutorial", "--features", "cached", "--teacher", str(MODELS)], "is taught or distributed"),
        (["--teacher", "/nowhere"], "found none in /nowhere"),
    ],
)
def test_what_cannot_run_is_one_line_and_leaves_nothing(drawn, tmp_path, capsys, more, told):
    out = tmp_path / "run"
    assert main(*options(drawn, out, *more)) == 1
    printed = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert told in printed
    assert printed.startswith("python -m train: wanted")
    assert not out.exists()


def test_broken_photos_are_named_all_at_once_before_training_starts_or_left_out(drawn, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(drawn, root)
    train, valid = split_by_track(read_train(root), 0.1, 0)
    broken = [train[5].path, train[17].path, valid[5].path]
    for place, path in enumerate(broken):
        path.write_bytes(path.read_bytes()[: 100 * place])
    assert main(*options(root, tmp_path / "run")) == 1
    told = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert told.startswith("python -m train: wanted")
    assert "3 of 96 broken" in told
    assert all(str(path) in told for path in broken)
    assert "--leave-out-broken" in told
    assert not (tmp_path / "run").exists()
    (whole, held), left_out = _whole(root, Split(0.1, 0), leave_out=True)
    assert left_out == sorted(str(path.relative_to(root)) for path in broken)
    assert [photo.path for photo in (*whole, *held)] == [photo.path for photo in (*train, *valid) if photo.path not in broken]


def test_fewer_photos_than_a_batch_are_looked_at_several_times_in_one():
    few = Recipe("own", batch=77, epochs=3, least_steps=40, drawn_share=0.1, sign_free_share=0.2)
    assert (few.steps(5), few.lasting(5).epochs, few.lasting(5000).epochs) == (1, 40, 3)
    plan = plan_epoch(np.array([0, 0, 1, 1, 1]), few, few.steps(5), 0, 2)
    assert len(plan) == 77
    kinds = [int((plan[:, 0] == kind).sum()) for kind in (REAL, DRAWN, SIGN_FREE)]
    assert kinds == [77 - 15 - 8, 8, 15]
    assert np.bincount(plan[plan[:, 0] == REAL, 1], minlength=5).min() >= 8


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
    assert "-m pip install -c" in bare.stderr
    assert bare.stderr.count("\n") == 1


FEW = {"size": 32, "batch": 32, "dense": 16, "train_per_class": 2, "valid_per_class": 1, "precision": "float32"}


def test_drawn_photos_are_trained_on_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    few = replace(FEWSHOT, drawn_steps=1, width=0.25, **FEW)
    for times in (1, 0):
        network = _network(few, "drawn", 2, tmp_path / "run", Plan(few.batch, 1, False, None))
        assert capsys.readouterr().out.count("training on drawn photos first, in 1 epochs of 1 steps") == times
        (kept,) = (tmp_path / "cache" / "signwing").glob("drawn-*")
        assert int(network.optimizer.iterations) == 0
        assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), runs.load_model(kept / runs.CHECKPOINT).get_weights(), strict=True))
        assert runs.read_history(kept / runs.HISTORY)[0]["loss"] < 10


def test_a_frozen_prefix_computed_once_gives_the_same_run(all_classes, tmp_path):
    keras.utils.set_random_seed(1)
    notop = tmp_path / "vgg16_notop.weights.h5"
    keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(notop)
    tutorial = replace(TUTORIAL, epochs=1, **FEW)
    for features in ("cached", "computed"):
        fit(all_classes, tmp_path / features, tutorial, weights=str(notop), resume=False, features=features)
    histories = [runs.read_history(tmp_path / features / runs.HISTORY) for features in ("cached", "computed")]
    for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert [row[key] for row in histories[0]] == pytest.approx([row[key] for row in histories[1]], rel=1e-5)
    cached, computed = (runs.load_model(tmp_path / features / runs.CHECKPOINT) for features in ("cached", "computed"))
    assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(cached.get_weights(), computed.get_weights(), strict=True))
    published = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    published.load_weights(notop)
    for name, trained in (("block3_conv3", False), ("block4_conv1", True)):
        begun, ended = published.get_layer(name).get_weights()[0], cached.get_layer(name).get_weights()[0]
        assert np.array_equal(begun, ended) != trained


def test_from_nothing_no_layer_is_frozen(drawn, tmp_path):
    with pytest.raises(InputError, match="trains every layer"):
        fit(drawn, tmp_path / "run", replace(TUTORIAL, **FEW), weights="none", resume=False, features="cached")


@pytest.mark.parametrize("shares", [(0.1, 0.06), (0.25, 0.25), (0.0, 0.06), (0.33, 0.11)])
def test_an_epoch_fills_its_batches_whatever_the_number_of_photos(shares):
    for photos in range(1, 60):
        mixed = replace(TINY, batch=7, drawn_share=shares[0], sign_free_share=shares[1])
        steps = mixed.steps(photos)
        assert len(plan_epoch(np.arange(photos) % 43, mixed, steps, 0)) == steps * 7


def test_jax_trains_a_model_that_tensorflow_loads(tmp_path):
    pytest.importorskip("jax", reason="needs JAX: pip install 'jax[cpu]'")
    data, out = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    table(data, "Train.csv", signs(CLASS_IDS, 3, 4))
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    argv = [sys.executable, "-m", "train", *map(str, options(data, out, "--epochs", 1))]
    ended = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    assert runs.read_run(out)["environment"]["backend"]["name"] == "jax"
    (row,) = runs.read_history(out / runs.HISTORY)
    assert 0 < row["loss"] < 10
    document = evaluate_runs([out], data, "valid", None)
    assert document["top1"] == runs.read_run(out)["metrics"]["valid"]["top1"]
