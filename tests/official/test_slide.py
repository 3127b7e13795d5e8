"""Sliding windows, rescaling and labels against those recorded from the official segmentor (09_slide*.npz)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gss.config import InferenceConfig
from gss.model.views.predict import labels_and_margin, predict_labels
from gss.model.views.scores import rescale, slide_scores, softmax_
from tests.official.compare import assert_equal, assert_near
from tests.official.recordings import by_name, files, load


class RecordedHead:
    """The head of the recordings: linear in the colours and the place within the window, then `up` times as large."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.weight, self.down, self.right = (torch.tensor(settings[name]) for name in ("W", "a", "b"))
        self.up = settings["up"]
        self.shapes: list[list[int]] = []

    def __call__(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        self.shapes.append(list(size))
        rows, columns = torch.arange(size[0]).float()[:, None] / 64, torch.arange(size[1]).float() / 64
        place = self.down[:, None, None] * rows + self.right[:, None, None] * columns
        scores = torch.einsum("kc,bchw->bkhw", self.weight, images) + place
        return rescale(F.interpolate(scores, scale_factor=self.up, mode="nearest"), size)


@pytest.mark.parametrize("path", files("09_slide*.npz"), ids=by_name)
def test_every_recorded_case(path: Path) -> None:
    recording = load(path)
    settings, wanted = recording.config, recording.outputs
    crop, stride = tuple(settings["crop"]), tuple(settings["stride"])
    for case in settings["cases"]:
        name, original = case["name"], tuple(case["ori_shape"])
        images = recording.inputs[f"img_{name}"]
        head = RecordedHead(settings["fake_head"])
        scores = slide_scores(head, images, crop, stride, unaligned="stretch")
        assert_equal(recording.name, "window_shapes", head.shapes, wanted[f"{name}.window_shapes"], name)
        assert_near(recording.name, "slide_logits", scores, wanted[f"{name}.slide_logits"], member=name)
        if case["rescale"]:
            height, width = case["img_shape"]  # what lies beyond is padding
            scores = rescale(scores[..., :height, :width], original)
            rescaled = wanted[f"{name}.slide_logits_rescaled"]
            assert_near(recording.name, "slide_logits_rescaled", scores, rescaled, member=name)
        classes = wanted[f"{name}.simple_test"]
        labels = labels_and_margin(softmax_(scores)).labels
        assert_equal(recording.name, "simple_test", labels.flip(-1) if case["flip"] else labels, classes, name)
        if not case["flip"] and tuple(case["img_shape"]) == tuple(images.shape[-2:]):
            config = InferenceConfig(mode="slide", crop=crop, stride=stride, batch=4, unaligned="stretch")
            found = predict_labels(head, images, config, original if case["rescale"] else None)
            assert_equal(recording.name, "simple_test", found.labels, classes, name)
