"""Providers of label_resize, maskige_evaluate and confusion_matrix: class maps resized by vote, and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.kernels import official
from benchmarks.kernels.cases import Case, scores_bytes
from benchmarks.kernels.inputs import IGNORE
from benchmarks.kernels.providers import (
    COMPILED,
    CPU,
    EAGER,
    OFFICIAL,
    ONE_COPY,
    SMALL_OP,
    Inputs,
    Provider,
    compiled,
    ours,
    too_large,
)

FIRST = ("table", "overhead")


def _planes(case: Case) -> float:
    """Bytes of one plane a class at both sizes."""
    larger = max(1.0, case.out_height * case.out_width / (case.height * case.width))
    return scores_bytes(case) * (1 + larger)


def _official_resize(inputs: Inputs) -> Callable[[], Any]:
    return lambda: official.resize(inputs.labels.long(), inputs.size, inputs.classes)


def _compiled_resize(inputs: Inputs) -> Callable[[], Any]:
    size, classes = inputs.size, inputs.classes
    return compiled(lambda labels: official.resize(labels.long(), size, classes), inputs.labels)


def _opencv_resize(inputs: Inputs) -> Callable[[], Any]:
    """One class at a time, with the best so far; the first class wins a tie."""
    import cv2

    labels, (height, width) = inputs.labels[0].numpy(), inputs.size

    def call() -> np.ndarray:
        winner, most = np.zeros((height, width), np.uint8), np.zeros((height, width), np.float32)
        for k in range(inputs.classes):
            plane = (labels == k).astype(np.float32)
            votes = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
            winner[votes > most] = k
            np.maximum(most, votes, out=most)
        return winner[None]

    return call


def _evaluate(maskige: Tensor, palette: Tensor, size: tuple[int, int]) -> Tensor:
    return official.resize(official.decode(maskige, palette), size, len(palette))


def _official_evaluate(inputs: Inputs) -> Callable[[], Any]:
    def call() -> Tensor:
        labels = _evaluate(inputs.maskige, inputs.palette, inputs.size)
        return official.confusion(labels, inputs.target, inputs.classes, IGNORE)

    return call


def _compiled_evaluate(inputs: Inputs) -> Callable[[], Any]:
    """Decode and resize are compiled; the histogram stays eager, because the compiler does not know its size."""
    size = inputs.size
    labels = compiled(lambda m, p: _evaluate(m, p, size), inputs.maskige, inputs.palette)
    return lambda: official.confusion(labels(), inputs.target, inputs.classes, IGNORE)


def _eager_confusion(inputs: Inputs) -> Callable[[], Any]:
    return lambda: official.confusion(inputs.prediction, inputs.target, inputs.classes, IGNORE)


def _scatter(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    cell = torch.where(target == IGNORE, classes**2, target.long() * classes + prediction)
    counts = torch.zeros(classes**2 + 1, dtype=torch.int64, device=cell.device)
    return counts.scatter_add(0, cell.flatten(), torch.ones_like(cell).flatten())[:-1].view(classes, classes)


def _compiled_confusion(inputs: Inputs) -> Callable[[], Any]:
    classes = inputs.classes
    return compiled(lambda p, t: _scatter(p, t, classes), inputs.prediction, inputs.target)


def _opencv_confusion(inputs: Inputs) -> Callable[[], Any]:
    """A two-dimensional histogram; the ignore label lies outside its range."""
    import cv2

    images, classes = [inputs.target[0].numpy(), inputs.prediction[0].numpy()], inputs.classes
    ranges = [0, classes, 0, classes]
    return lambda: cv2.calcHist(images, [0, 1], None, [classes, classes], ranges).astype(np.int64)


PROVIDERS = {
    "label_resize": [
        ONE_COPY,
        Provider(OFFICIAL, _official_resize, studies=FIRST, cannot=too_large(_planes)),
        Provider(COMPILED, _compiled_resize, cannot=too_large(_planes)),
        Provider("OpenCV resize, class by class", _opencv_resize, "opencv", CPU),
        SMALL_OP,
        *ours("label_resize", lambda i: ((i.labels, i.size), {"num_classes": i.classes})),
    ],
    "maskige_evaluate": [
        ONE_COPY,
        Provider(OFFICIAL, _official_evaluate, studies=FIRST, cannot=too_large(_planes)),
        Provider(f"{COMPILED} and bincount", _compiled_evaluate, cannot=too_large(_planes)),
        SMALL_OP,
        *ours("maskige_evaluate", lambda i: ((i.maskige, i.palette, i.target), {})),
    ],
    "confusion_matrix": [
        ONE_COPY,
        Provider(f"{EAGER}, bincount", _eager_confusion, studies=FIRST),
        Provider(COMPILED, _compiled_confusion),
        Provider("OpenCV calcHist", _opencv_confusion, "opencv", CPU),
        SMALL_OP,
        *ours("confusion_matrix", lambda i: ((i.prediction, i.target, i.classes), {})),
    ],
}
