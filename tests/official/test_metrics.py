"""Scores against those recorded from the official evaluation (08_metrics.npz)."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gss.metrics import SegmentationMetrics

FOLDER = os.environ.get("GSS_OFFICIAL_FIXTURES")


def as_numbers(values: list[float | None]) -> list[float]:
    """A ratio without a denominator is None here and NaN there."""
    return [math.nan if v is None else v for v in values]


def test_scores_of_several_images() -> None:
    with np.load(Path(FOLDER) / "08_metrics.npz") as recorded:
        config = json.loads(bytes(recorded["meta_json"]).decode())["cfg"]
        metrics = SegmentationMetrics(config["num_classes"], ignore_index=config["ignore_index"])
        for n in range(config["n"]):
            prediction, label = (torch.from_numpy(recorded[f"in/{name}{n}"]) for name in ("pred", "label"))
            metrics.update(prediction, label)
        found = metrics.compute()
        classes = list(found["per_class"].values())
        for name in ("IoU", "Acc"):
            np.testing.assert_allclose(as_numbers([c[name] for c in classes]), recorded[f"out/eval.{name}"], rtol=1e-12)
        assert found["aAcc"] == pytest.approx(float(recorded["out/eval.aAcc"]), rel=1e-12)
        # The summaries are percentages of the means, rounded to two places.
        for ours, theirs in (("mIoU", "IoU"), ("mAcc", "Acc"), ("aAcc", "aAcc")):
            assert round(100 * found[ours], 2) == float(recorded[f"out/eval.summary.{theirs}"])
        intersect, union, _, label = recorded["out/total_areas"]
        assert metrics.confusion.diagonal().tolist() == intersect.tolist()
        assert [c["pixels"] for c in classes] == label.tolist()
        assert np.isnan(recorded["out/eval.IoU"]).tolist() == (union == 0).tolist()
