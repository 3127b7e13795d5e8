"""Sliding windows, rescaling and labels against those recorded from the official segmentor (09_slide*.npz)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gss.inference import InferenceConfig, labels_and_margin, predict_labels, rescale, slide_scores, softmax_

FOLDER = os.environ.get("GSS_OFFICIAL_FIXTURES")
FILES = sorted(Path(FOLDER).glob("09_slide*.npz")) if FOLDER else []


def test_there_are_recordings() -> None:
    assert FILES, f"no 09_slide*.npz in {FOLDER}"


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


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_every_recorded_case(file: Path) -> None:
    with np.load(file) as recorded:
        settings = json.loads(bytes(recorded["meta_json"]).decode())["cfg"]
        crop, stride = tuple(settings["crop"]), tuple(settings["stride"])
        for case in settings["cases"]:
            name, original = case["name"], tuple(case["ori_shape"])
            images = torch.from_numpy(recorded[f"in/img_{name}"])
            head = RecordedHead(settings["fake_head"])
            scores = slide_scores(head, images, crop, stride, unaligned="stretch")
            assert head.shapes == recorded[f"out/{name}.window_shapes"].tolist()
            close(scores, recorded[f"out/{name}.slide_logits"])
            if case["rescale"]:
                height, width = case["img_shape"]  # what lies beyond is padding
                scores = rescale(scores[..., :height, :width], original)
                close(scores, recorded[f"out/{name}.slide_logits_rescaled"])
            wanted = torch.from_numpy(recorded[f"out/{name}.simple_test"])
            labels = labels_and_margin(softmax_(scores)).labels.long()
            assert torch.equal(labels.flip(-1) if case["flip"] else labels, wanted)
            if not case["flip"] and tuple(case["img_shape"]) == tuple(images.shape[-2:]):
                config = InferenceConfig(mode="slide", crop=crop, stride=stride, batch=4, unaligned="stretch")
                size = original if case["rescale"] else None
                assert torch.equal(predict_labels(head, images, config, size).labels.long(), wanted)


def close(found: Tensor, wanted: np.ndarray) -> None:
    torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=1e-4, atol=1e-4)
