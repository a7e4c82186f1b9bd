import json
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from edge.datasets.gtsdb import read_sides
from edge.drawn.drone.flight import DroneFlight
from edge.drawn.scenes import Flight, scene
from edge.drawn.signs import draw_sign
from edge.errors import DataError, InputError
from edge.recognition.finding import judge
from edge.recognition.heatmap import decode
from train.__main__ import _parser
from train.fit_spotter import fit_spotter
from train.networks import spotter
from train.networks.spotter import FRAME_WH
from train.networks.spotter_loss import encode, spotter_loss
from train.photos.spotter_frames import Still, Views, draw_stills
from train.recipes import SPOTTER, spotter_recipe
from train.runs import folder as runs

TINY = replace(SPOTTER, crop=96, epochs=2, steps=2, batch=2, drawn_frames=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a small drawn gtsdb/ and gtsrb/."""
    root = tmp_path_factory.mktemp("data")
    frames = root / "gtsdb" / "images"
    frames.mkdir(parents=True)
    rows = []
    for number in (0, 1, 12, 30, 31):
        drawn = scene(number, (408, 240))
        cv2.imwrite(str(frames / f"{number:05}.png"), drawn.image)
        rows += [";".join([f"{number:05}.png", *(str(round(side)) for side in truth.box_xyxy), str(truth.class_id)]) for truth in drawn.truths]
    (root / "gtsdb" / "gt.txt").write_text("\n".join(rows) + "\n")
    table = ["Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path"]
    for class_id in (2, 13):
        folder = root / "gtsrb" / "Train" / str(class_id)
        folder.mkdir(parents=True)
        for track in range(3):
            face = draw_sign(class_id, 40)
            photo = np.full((50, 50, 3), 90, np.uint8)
            photo[5:45, 5:45] = face[:, :, :3]
            name = f"{class_id:05}_{track:05}_00000.png"
            cv2.imwrite(str(folder / name), photo)
            table.append(f"50,50,5,5,45,45,{class_id},Train/{class_id}/{name}")
    (root / "gtsrb" / "Train.csv").write_text("\n".join(table) + "\n")
    return root


def test_the_network_is_within_its_budget():
    network = spotter.build((480, 816), batch_norm=False)
    assert network.count_params() <= 500_000
    assert spotter.count_flop() <= 4e9
    counted = 0
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            counted += 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:3]))
    assert spotter.count_flop() == counted
    assert network.output_shape == (None, 120, 204, 5)


def test_folding_changes_nothing():
    network = spotter.build((None, None), batch_norm=True)
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.name.endswith("_bn"):
            layer.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
    frames = rng.integers(0, 256, (1, 64, 96, 3)).astype(np.uint8)
    plain = spotter.fold(network, (64, 96))
    np.testing.assert_allclose(network.predict_on_batch(frames), plain.predict_on_batch(frames), rtol=1e-3, atol=1e-4)


def test_what_is_encoded_is_decoded():
    boxes = np.array([[40.0, 60, 71, 90], [200, 21, 222, 61], [300, 100, 420, 221]])
    target = encode(boxes, (240, 480))
    found = decode(target[:, :, :5], least_score=0.5, most=10)
    assert found.scores == pytest.approx([1, 1, 1])
    np.testing.assert_allclose(sorted(found.boxes_xyxy.tolist()), sorted(boxes.tolist()), atol=0.01)
    assert judge([(found, boxes)]).ap50() == 1.0


@pytest.mark.parametrize("box", [(100, 100, 107, 107), (-30, 50, 20, 100), (470, 10, 520, 40)])
def test_signs_too_small_or_cut_off_are_neither_to_be_found_nor_passed_over(box):
    target = encode(np.array([box], np.float64), (240, 480))
    assert target[:, :, 0].max() == 0
    assert target[:, :, 5].min() == 0
    maps = np.zeros((1, 60, 120, 5), np.float32)
    maps[0, :, :, 0] = np.where(target[:, :, 5] == 0, 0.99, 1e-4)
    assert float(spotter_loss(target[None], maps)[0]) < 1e-3


def test_the_truth_costs_least():
    target = encode(np.array([[40.0, 60, 71, 90]]), (128, 128))[None]
    truth = target[..., :5].copy()
    missed, moved, false = truth.copy(), truth.copy(), truth.copy()
    missed[..., 0] = 0
    moved[..., 1] += 1
    false[:, 2, 2, 0] = 0.9
    costs = [float(spotter_loss(target, maps)[0]) for maps in (truth, missed, moved, false)]
    assert costs[0] < min(costs[1:]) / 2, costs


def test_a_view_is_the_same_each_time_and_its_boxes_lie_on_signs():
    drawn = scene(3, (816, 480))
    still = Still(drawn.image, np.array([truth.box_xyxy for truth in drawn.truths]))
    views = Views([], [still], [], replace(SPOTTER, drawn_share=1.0))
    first, again = (views.cut([0, 5]) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    seen = 0
    for place in range(12):
        image, boxes = views.cut([1, place])
        assert image.shape == (384, 384, 3)
        whole = boxes[((boxes >= 0) & (boxes <= 384)).all(axis=1)]
        for x1, y1, x2, y2 in whole.astype(int):
            seen += 1
            assert image[y1:y2, x1:x2].std() > 5
    assert seen > 3


def test_every_other_flight_to_train_on_is_a_drones():
    stills, rng = draw_stills(32, 1), np.random.default_rng([1, 5])
    indices = [int(rng.integers(600)) for _ in range(16)]
    for place, of_kind in ((0, Flight), (1, DroneFlight)):
        flight, index, still = of_kind(100_032 + place, FRAME_WH), indices[8 * place], stills[16 + 8 * place]
        assert np.array_equal(still.image, flight.frame(index).image)
        assert still.boxes_xyxy.tolist() == [list(truth.box_xyxy) for truth in flight.signs_in(index)]
    assert any(len(still.boxes_xyxy) for still in stills[24:])


def test_sides_share_no_group(root):
    sides = read_sides(root)
    numbers = [[int(frame.path.stem) for frame in side] for side in (sides.train, sides.tuning, sides.held)]
    assert numbers == [[12], [0, 1], [30, 31]]


def test_without_frames_the_cure_is_told(tmp_path):
    with pytest.raises(DataError, match=r"wanted GTSDB's gt\.txt"):
        fit_spotter(tmp_path, tmp_path / "run", TINY, resume=False)
    assert not (tmp_path / "run").exists()


def test_options_of_the_classifier_are_refused():
    with pytest.raises(InputError, match="--size, --memory-budget"):
        spotter_recipe(epochs=1, seed=0, precision=None, size=32, memory_budget=2.0)
    assert _parser().parse_args(["fit", "--recipe", "spotter", "--data", "d", "--out", "o"]).recipe == "spotter"


def test_a_run_is_trained_resumed_and_told(root, tmp_path):
    broken = tmp_path / "broken"
    recipe = replace(TINY, precision="float32")
    run = fit_spotter(root, broken, recipe, resume=False)
    told = json.loads((broken / runs.RUN).read_text())
    assert told == json.loads(json.dumps(run))
    assert set(told["metrics"]) == {"tuning", "valid", "threshold"}
    assert told["frames"] == {"train": 1, "tuning": 2, "valid": 2}
    model = runs.load_model(broken / runs.MODEL)
    assert model.input_shape == (None, 480, 816, 3)
    weights = [weight for layer in model.layers for weight in layer.get_weights()]
    assert all((weight == weight.astype(np.float16)).all() for weight in weights)
    with pytest.raises(InputError, match="add --resume"):
        fit_spotter(root, broken, recipe, resume=False)
    (broken / runs.RUN).unlink()
    asked = json.loads((broken / runs.ASKED).read_text())
    del asked["weights"], asked["recipe"]["tuning_rate"]  # as before a spotter could learn on
    (broken / runs.ASKED).write_text(json.dumps(asked))
    fit_spotter(root, broken, recipe, resume=True)
    assert len(runs.read_history(broken / runs.HISTORY)) == 2
    on = fit_spotter(root, tmp_path / "on", replace(recipe, epochs=1), weights=str(broken / runs.MODEL), resume=False)
    assert on["former"] == {key: on["former"][key] for key in ("recipe", "weights", "frames")}
    learnt = [weight for layer in runs.load_model(tmp_path / "on" / runs.MODEL).layers for weight in layer.get_weights()]
    moved = [float(abs(after - before).max()) for before, after in zip(weights, learnt, strict=True)]
    assert 0 < max(moved) < 0.01
    (broken / runs.MODEL).unlink()  # the checkpoint has all that a resumed run needs
    fit_spotter(root, tmp_path / "on", replace(recipe, epochs=1), weights=str(broken / runs.MODEL), resume=True)


@pytest.mark.parametrize(("file", "found"), [("imagenet", "found no imagenet"), ("other.keras", "other weights")])
def test_only_a_spotter_learns_on_as_one(tmp_path, monkeypatch, file, found):
    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save("other.keras")
    with pytest.raises(InputError, match=found):
        spotter.load(spotter.build((None, None), batch_norm=False), Path(file))
