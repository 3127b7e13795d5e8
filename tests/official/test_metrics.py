"""Scores against those of the official evaluation (08_metrics*.npz)."""

import math
from pathlib import Path

import pytest

from gss.data.sources.folders import reduce_zero_label
from gss.evaluation.metrics import SegmentationMetrics
from tests.official.compare import assert_equal, assert_near
from tests.official.recordings import Recording, by_name, files, load


def as_numbers(values: list[float | None]) -> list[float]:
    """A ratio without a denominator is None here and NaN there."""
    return [math.nan if v is None else v for v in values]


def scored(recording: Recording) -> SegmentationMetrics:
    """All images, one after the other, with the areas of each compared."""
    config = recording.config
    metrics = SegmentationMetrics(config["num_classes"], ignore_index=config["ignore_index"])
    for n in range(config["n"]):
        label = recording.inputs[f"label{n}"]
        if config["reduce_zero_label"]:
            label = reduce_zero_label(label)
        before = metrics.areas()
        metrics.update(recording.inputs[f"pred{n}"], label)
        assert_equal(recording.name, "areas", metrics.areas() - before, recording.outputs[f"areas{n}"], f"of image {n}")
    return metrics


@pytest.mark.parametrize("path", files("08_metrics.npz", "08_metrics_reduce_zero.npz"), ids=by_name)
def test_scores_of_several_images(path: Path) -> None:
    recording = load(path)
    name, wanted = recording.name, recording.outputs
    metrics = scored(recording)
    assert_equal(name, "total_areas", metrics.areas(), wanted["total_areas"])
    found = metrics.compute()
    classes = list(found["per_class"].values())
    for key in ("IoU", "Acc"):
        values = as_numbers([c[key] for c in classes])
        assert_near(name, f"eval.{key}", values, wanted[f"eval.{key}"], atol=0, rtol=1e-12)
        # the other official way adds up in float32
        assert_near(name, f"pre_eval.{key}", values, wanted[f"pre_eval.{key}"].double(), atol=0, rtol=1e-6)
    assert_near(name, "eval.aAcc", [found["aAcc"]], wanted["eval.aAcc"].reshape(1), atol=0, rtol=1e-12)
    # The summaries are percentages of the means, rounded to two places.
    for ours, theirs in (("mIoU", "IoU"), ("mAcc", "Acc"), ("aAcc", "aAcc")):
        summary = wanted[f"eval.summary.{theirs}"].reshape(1)
        assert_equal(name, "eval.summary", [round(100 * found[ours], 2)], summary, theirs)
    assert [c["pixels"] for c in classes] == wanted["total_areas"][3].tolist()
    assert wanted["eval.IoU"].isnan().tolist() == (wanted["total_areas"][1] == 0).tolist()
