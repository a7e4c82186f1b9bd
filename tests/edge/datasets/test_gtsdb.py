import cv2
import numpy as np
import pytest

from edge.datasets.gtsdb import RoadFrame, find_frames, read_frames, sign_free_boxes, split_by_group
from edge.drawn.scenes import scene
from edge.errors import DataError
from edge.geometry.boxes import iou_matrix


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "gtsdb"
    (root / "images").mkdir(parents=True)
    for number in (0, 7, 31):
        cv2.imwrite(str(root / "images" / f"{number:05d}.png"), np.full((60, 80, 3), number, np.uint8))
    (root / "gt.txt").write_text("00007.png;1;2;21;22;14\n00007.png;30;30;50;50;2\n00031.png;5;5;25;25;38\n")
    return root


def test_frames_carry_their_boxes_and_a_frame_without_a_row_has_none(folder):
    frames = {frame.path.stem: frame for frame in read_frames(folder)}
    assert frames["00000"].boxes_xyxy.shape == (0, 4)
    assert frames["00007"].boxes_xyxy.tolist() == [[1, 2, 21, 22], [30, 30, 50, 50]]
    assert frames["00007"].class_ids.tolist() == [14, 2]


@pytest.mark.parametrize("inside", [".", "gtsdb", "gtsrb"])
def test_the_frames_are_found_in_and_beside_the_photos_folder(folder, inside):
    root = folder if inside == "." else folder.parent / inside if inside == "gtsrb" else folder.parent
    assert find_frames(root).resolve() == folder.resolve()
    assert find_frames(folder.parent.parent / "elsewhere" / "gtsrb") is None


@pytest.mark.parametrize(("line", "told"), [("00007.png;1;2;3", "line 1"), ("00007.png;a;2;3;4;5", "line 1"), ("00008.png;1;2;3;4;5", "no 00008.png")])
def test_a_damaged_table_is_refused(folder, line, told):
    (folder / "gt.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=told):
        read_frames(folder)
    (folder / "gt.txt").unlink()
    with pytest.raises(DataError, match=r"wanted gt\.txt"):
        read_frames(folder)


def test_neighbouring_frames_stay_on_one_side(folder):
    none = np.zeros((0, 4)), np.zeros(0, np.int64)
    train, held = split_by_group([RoadFrame(folder / f"{number:05d}.png", *none) for number in range(200)])
    assert {int(frame.path.stem) // 10 for frame in held} == {3, 7, 11, 15, 19}
    assert len(train) == 150
    with pytest.raises(DataError, match="named by numbers"):
        split_by_group([RoadFrame(folder / "road.png", *none)])


@pytest.mark.parametrize("seed", range(4))
def test_no_box_of_a_place_without_a_sign_touches_one(seed):
    drawn = scene(seed)
    signs = np.array([truth.box_xyxy for truth in drawn.truths])
    boxes = sign_free_boxes(drawn.image, signs, 24, np.random.default_rng(seed))
    assert 0 < len(boxes) <= 24
    assert iou_matrix(boxes, signs).max() == 0
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 960).all()
    assert (boxes[:, 3] <= 540).all()
    assert np.array_equal(boxes, sign_free_boxes(drawn.image, signs, 24, np.random.default_rng(seed)))


def test_real_frames_hold_the_signs_that_are_documented(data_root):
    frames = read_frames(data_root / "gtsdb")
    assert len(frames) == 330
    assert sum(len(frame.class_ids) for frame in frames) == 565
