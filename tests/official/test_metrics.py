"""Scores against those recorded from the official evaluation (08_metrics*.npz)."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gss.data.ade20k import reduce_zero_label
from gss.metrics import SegmentationMetrics

FOLDER = os.environ.get("GSS_OFFICIAL_FIXTURES")


def as_numbers(values: list[float | None]) -> list[float]:
    """A ratio without a denominator is None here and NaN there."""
    return [math.nan if v is None else v for v in values]


@pytest.mark.parametrize("name", ["08_metrics", "08_metrics_reduce_zero"])
def test_scores_of_several_images(name: str) -> None:
    with np.load(Path(FOLDER) / f"{name}.npz") as recorded:
        config = json.loads(bytes(recorded["meta_json"]).decode())["cfg"]
        metrics = SegmentationMetrics(config["num_classes"], ignore_index=config["ignore_index"])
        for n in range(config["n"]):
            prediction, label = (torch.from_numpy(recorded[f"in/{side}{n}"]) for side in ("pred", "label"))
            if config["reduce_zero_label"]:
                label = reduce_zero_label(label)
            before = metrics.areas()
            metrics.update(prediction, label)
            np.testing.assert_array_equal(metrics.areas() - before, recorded[f"out/areas{n}"])
        np.testing.assert_array_equal(metrics.areas(), recorded["out/total_areas"])

        found = metrics.compute()
        classes = list(found["per_class"].values())
        for key in ("IoU", "Acc"):
            values = as_numbers([c[key] for c in classes])
            np.testing.assert_allclose(values, recorded[f"out/eval.{key}"], rtol=1e-12)
            # the other official way adds up in float32
            np.testing.assert_allclose(values, recorded[f"out/pre_eval.{key}"], rtol=1e-6)
        assert found["aAcc"] == pytest.approx(float(recorded["out/eval.aAcc"]), rel=1e-12)
        # The summaries are percentages of the means, rounded to two places.
        for ours, theirs in (("mIoU", "IoU"), ("mAcc", "Acc"), ("aAcc", "aAcc")):
            assert round(100 * found[ours], 2) == float(recorded[f"out/eval.summary.{theirs}"])
        assert [c["pixels"] for c in classes] == recorded["out/total_areas"][3].tolist()
        assert np.isnan(recorded["out/eval.IoU"]).tolist() == (recorded["out/total_areas"][1] == 0).tolist()
