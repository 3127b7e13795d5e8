"""Metrics against hand-computed values and against a plain definition over random label maps."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gss.data.sources.folders import reduce_zero_label
from gss.evaluation.metrics import SegmentationMetrics, harmonic_mean


def test_hand_computed() -> None:
    # target 0 0 0 1 1 2, prediction 0 0 1 1 1 0; class 3 never occurs; one ignored pixel.
    metrics = SegmentationMetrics(4, ["a", "b", "c", "d"])
    metrics.update(torch.tensor([0, 0, 1, 1, 1, 0, 3]), torch.tensor([0, 0, 0, 1, 1, 2, 255]))
    result = metrics.compute()
    assert result["per_class"]["a"] == {"IoU": 2 / 4, "Acc": 2 / 3, "pixels": 3}
    assert result["per_class"]["b"] == {"IoU": 2 / 3, "Acc": 1.0, "pixels": 2}
    assert result["per_class"]["c"] == {"IoU": 0.0, "Acc": 0.0, "pixels": 1}
    assert result["per_class"]["d"] == {"IoU": None, "Acc": None, "pixels": 0}
    assert result["mIoU"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert result["mAcc"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert result["aAcc"] == pytest.approx(4 / 6)
    assert json.loads(json.dumps(result)) == result


def test_class_only_predicted_counts_as_zero_iou() -> None:
    metrics = SegmentationMetrics(2)
    metrics.update(torch.tensor([0, 1]), torch.tensor([0, 0]))
    result = metrics.compute()
    assert result["per_class"]["class 1"] == {"IoU": 0.0, "Acc": None, "pixels": 0}
    assert result["mIoU"] == pytest.approx(0.25)
    assert result["mAcc"] == pytest.approx(0.5)


def test_prediction_without_a_class_is_wrong_not_skipped() -> None:
    metrics = SegmentationMetrics(2)
    metrics.update(torch.tensor([0, 255, 1, 255]), torch.tensor([0, 0, 1, 255]))
    result = metrics.compute()
    assert result["per_class"]["class 0"] == {"IoU": 0.5, "Acc": 0.5, "pixels": 2}
    assert result["aAcc"] == pytest.approx(2 / 3)


def test_target_that_is_no_class_is_wrong_for_what_is_predicted_there() -> None:
    # target 0 0 7 7 1, prediction 0 1 0 255 1: the class of the 7s is neither of the two.
    metrics = SegmentationMetrics(2)
    metrics.update(torch.tensor([0, 1, 0, 255, 1]), torch.tensor([0, 0, 7, 7, 1]))
    assert metrics.areas().tolist() == [[1, 1], [3, 2], [2, 2], [2, 1]]
    result = metrics.compute()
    assert [row["IoU"] for row in result["per_class"].values()] == [1 / 3, 1 / 2]
    assert result["aAcc"] == pytest.approx(2 / 3)


def test_zero_as_no_class() -> None:
    stored = torch.tensor([[0, 1, 2], [150, 254, 255]], dtype=torch.uint8)
    assert reduce_zero_label(stored).tolist() == [[255, 0, 1], [149, 253, 255]]
    with pytest.raises(TypeError, match="labels: expected uint8, got torch.int64"):
        reduce_zero_label(stored.long())


def test_harmonic_mean() -> None:
    # table 6 of the paper, GSS-FT-W with Swin-L; the paper prints 61.9 from unrounded values
    assert harmonic_mean([79.5, 47.7, 75.9, 65.3, 68.0, 49.7]) == pytest.approx(61.95, abs=0.005)
    assert harmonic_mean([0.5, 0.0]) == 0.0
    for values in ([], [0.5, None], [0.5, -0.1], [0.5, float("nan")]):
        with pytest.raises(ValueError, match="values: expected at least one number"):
            harmonic_mean(values)


def test_equals_the_definition_and_does_not_depend_on_batches() -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 7, (6, 20, 30)).astype(np.uint8)
    prediction = np.where(rng.random(target.shape) < 0.7, target, rng.integers(0, 7, target.shape)).astype(np.uint8)
    target[rng.random(target.shape) < 0.1] = 255
    whole, parts = SegmentationMetrics(7), SegmentationMetrics(7)
    whole.update(torch.from_numpy(prediction), torch.from_numpy(target))
    for one_prediction, one_target in zip(prediction, target, strict=True):
        parts.update(torch.from_numpy(one_prediction), torch.from_numpy(one_target))
    assert whole.compute() == parts.compute()
    valid = target != 255
    expected = [
        (valid & (target == k) & (prediction == k)).sum() / (valid & ((target == k) | (prediction == k))).sum()
        for k in range(7)
    ]
    assert [row["IoU"] for row in whole.compute()["per_class"].values()] == pytest.approx(expected)
    assert whole.compute()["mIoU"] == pytest.approx(np.mean(expected))


def test_nothing_counted() -> None:
    metrics = SegmentationMetrics(2)
    metrics.update(torch.tensor([0]), torch.tensor([255]))
    assert metrics.compute()["mIoU"] is None
    assert metrics.compute()["aAcc"] is None


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        SegmentationMetrics(0)
    with pytest.raises(ValueError, match="class_names"):
        SegmentationMetrics(2, ["a"])
    metrics = SegmentationMetrics(2)
    with pytest.raises(ValueError, match="prediction: expected the target's shape"):
        metrics.update(torch.zeros(2, 2, dtype=torch.uint8), torch.zeros(2, 3, dtype=torch.uint8))
