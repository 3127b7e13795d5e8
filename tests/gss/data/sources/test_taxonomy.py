"""The MSeg taxonomy against facts of the published table, and the mapping of scores and labels by hand."""

from __future__ import annotations

import pytest
import torch

from gss.data.sources.mseg import TEST_SETS, TRAIN_SETS
from gss.data.sources.taxonomy import (
    UNIVERSAL_CLASSES,
    classes_of,
    map_prediction,
    map_scores,
    palette_of,
    train_to_universal,
    universal_to_test,
)
from gss.palette import Palette

NAMES = Palette.named("mseg").class_names
CAMVID = {"building": "Building", "road": "Road", "sidewalk_pavement": "Sidewalk", "person": "Pedestrian",
          "bicyclist": "Bicyclist", "bicycle": "Bicyclist", "traffic_sign": "SignSymbol", "sky": "Sky",
          "pole": "Column_Pole", "fence": "Fence", "vegetation": "Tree", "car": "Car"}  # fmt: skip


def scores_of(**values: float) -> torch.Tensor:
    """(1, 194, 1, 1) scores by universal class name."""
    scores = torch.zeros(1, UNIVERSAL_CLASSES, 1, 1)
    for name, value in values.items():
        scores[0, NAMES.index(name)] = value
    return scores


@pytest.mark.parametrize(
    ("name", "classes", "unmapped"),
    list(zip(TEST_SETS, (21, 60, 11, 19, 19, 20), (0, 0, 182, 171, 172, 157), strict=True)),
)
def test_classes_without_a_counterpart(name: str, classes: int, unmapped: int) -> None:
    table = universal_to_test(name)
    assert table.shape == (256,) and table.dtype == torch.uint8
    assert len(classes_of(name)) == len(set(classes_of(name))) == classes
    assert int((table[:UNIVERSAL_CLASSES] == 255).sum()) == unmapped
    assert (table[UNIVERSAL_CLASSES:] == 255).all()
    reached = set(table[:UNIVERSAL_CLASSES].tolist()) - {255}
    lacking = {classes_of(name)[k] for k in set(range(classes)) - reached}
    assert lacking == ({"flower", "wood"} if name == "pascal-context-60" else set())
    assert max(reached) < classes


def test_camvid_class_by_class() -> None:
    table = universal_to_test("camvid-11")
    classes = classes_of("camvid-11")
    found = {NAMES[k]: classes[table[k]] for k in range(UNIVERSAL_CLASSES) if table[k] != 255}
    assert found == CAMVID


def test_wilddash_and_kitti_differ_in_one_class() -> None:
    differ = (universal_to_test("wilddash-19") != universal_to_test("kitti-19")).nonzero().flatten().tolist()
    assert [NAMES[k] for k in differ] == ["autorickshaw"]
    assert classes_of("wilddash-19")[universal_to_test("wilddash-19")[differ[0]]] == "motorcycle"
    assert classes_of("kitti-19") == Palette.named("cityscapes").class_names


@pytest.mark.parametrize(
    ("name", "classes"),
    list(zip(TRAIN_SETS, (141, 21, 21, 155, 30, 51, 48), strict=True)),
)
def test_training_ids_are_alphabetical_universal_names(name: str, classes: int) -> None:
    table = train_to_universal(name)
    assert table.shape == (256,) and table[255] == 255
    ids = table[:classes].tolist()
    assert len(set(ids)) == classes and max(ids) < UNIVERSAL_CLASSES
    assert [NAMES[k] for k in ids] == sorted(NAMES[k] for k in ids)
    assert (table[classes:255] == 254).all()  # no id of the data set


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="train_set: expected one of ade20k-150-relabeled, .*, got 'ade20k'"):
        train_to_universal("ade20k")
    with pytest.raises(ValueError, match="test_set: expected one of voc2012, .*, got 'voc'"):
        universal_to_test("voc")


def test_scores_add_up_over_the_universal_classes() -> None:
    torch.manual_seed(0)
    scores = torch.rand(2, UNIVERSAL_CLASSES, 3, 5).softmax(1)
    for name in TEST_SETS:
        table = universal_to_test(name)[:UNIVERSAL_CLASSES]
        matrix = torch.stack([(table == k).to(scores) for k in range(len(classes_of(name)))])
        assert torch.allclose(map_scores(scores, name), torch.einsum("ku,buhw->bkhw", matrix, scores), atol=1e-6)


def test_best_mapped_class_wins() -> None:
    # the sum of bicyclist and bicycle beats road, and no single class does
    scores = scores_of(road=0.3, bicyclist=0.2, bicycle=0.2, chair_other=0.3)
    classes = classes_of("camvid-11")
    assert classes[map_prediction(scores, "camvid-11")] == "Bicyclist"
    assert classes[map_prediction(scores_of(road=0.3, bicyclist=0.2), "camvid-11", official_parity=True)] == "Road"


def test_a_winner_that_the_test_set_lacks() -> None:
    soft, hard = scores_of(chair_other=0.9, car=0.1), scores_of(chair_other=1.0)
    classes = classes_of("camvid-11")
    assert classes[map_prediction(soft, "camvid-11")] == "Car"
    assert map_prediction(hard, "camvid-11").tolist() == [[[255]]]
    for scores in (soft, hard):
        assert map_prediction(scores, "camvid-11", official_parity=True).tolist() == [[[0]]]
    assert classes_of("scannet-20")[0] == "bathtub" and classes[0] == "Building"


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        (torch.zeros(1, 19, 2, 2), ValueError, r"scores: expected \(B, 194, H, W\), got \(1, 19, 2, 2\)"),
        (torch.full((1, 194, 1, 1), -1.0), ValueError, "apply softmax first"),
        (torch.zeros(1, 194, 1, 1, dtype=torch.int64), TypeError, "scores: expected floating point, got torch.int64"),
    ],
)
def test_wrong_scores(scores: torch.Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        map_scores(scores, "voc2012")
    with pytest.raises(ValueError, match=r"scores: expected \(B, 194, H, W\), got \(194, 2, 2\)"):
        map_prediction(torch.zeros(UNIVERSAL_CLASSES, 2, 2), "voc2012", official_parity=True)


def test_palettes_of_the_test_sets() -> None:
    voc = palette_of("voc2012")
    # the colours that PASCAL VOC publishes with its classes
    published = {"background": (0, 0, 0), "aeroplane": (128, 0, 0), "bird": (128, 128, 0), "cat": (64, 0, 0)}
    published |= {"person": (192, 128, 128), "tvmonitor": (0, 64, 128)}
    for name, color in published.items():
        assert voc.colors[voc.class_names.index(name)] == color
    for name in TEST_SETS:
        assert palette_of(name).class_names == classes_of(name)
