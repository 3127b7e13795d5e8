"""label_resize, maskige_evaluate and confusion_matrix: class maps resized by vote, and counted."""

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
    OFFICIAL,
    Inputs,
    Provider,
    compiled,
    copy_of_the_same_bytes,
    ours,
    small_torch_op,
    too_large,
)

FIRST = ("table", "overhead")


def _planes(case: Case) -> float:
    larger = max(1.0, case.out_height * case.out_width / (case.height * case.width))
    return scores_bytes(case) * (1 + larger)


def _official_resize(inputs: Inputs) -> Callable[[], Any]:
    return lambda: official.resize(inputs.labels.long(), inputs.size, inputs.classes)


def _compiled_resize(inputs: Inputs) -> Callable[[], Any]:
    size, classes = inputs.size, inputs.classes
    return compiled(lambda labels: official.resize(labels.long(), size, classes), inputs.labels)


def _opencv_resize(inputs: Inputs) -> Callable[[], Any]:
    """One class at a time, with the best so far; halves of ties go to the first class."""
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
    palette = inputs.palette.float()

    def call() -> Tensor:
        labels = _evaluate(inputs.maskige, palette, inputs.size)
        return official.confusion(labels, inputs.target, inputs.classes, IGNORE)

    return call


def _compiled_evaluate(inputs: Inputs) -> Callable[[], Any]:
    """Decode and resize compiled; the histogram stays eager, its size is not known to the compiler."""
    size = inputs.size
    decode = compiled(lambda m, p: _evaluate(m, p, size), inputs.maskige, inputs.palette.float())
    return lambda: official.confusion(decode(), inputs.target, inputs.classes, IGNORE)


def _official_confusion(inputs: Inputs) -> Callable[[], Any]:
    return lambda: official.confusion(inputs.prediction, inputs.target, inputs.classes, IGNORE)


def _scatter(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    cell = torch.where(target == IGNORE, classes**2, target.long() * classes + prediction)
    counts = torch.zeros(classes**2 + 1, dtype=torch.int64, device=cell.device)
    return counts.scatter_add(0, cell.flatten(), torch.ones_like(cell).flatten())[:-1].view(classes, classes)


def _compiled_confusion(inputs: Inputs) -> Callable[[], Any]:
    classes = inputs.classes
    return compiled(lambda p, t: _scatter(p, t, classes), inputs.prediction, inputs.target)


def _numpy_confusion(inputs: Inputs) -> Callable[[], Any]:
    prediction, target, classes = inputs.prediction.numpy(), inputs.target.numpy(), inputs.classes

    def call() -> np.ndarray:
        labelled = target != IGNORE
        cell = target[labelled].astype(np.int64) * classes + prediction[labelled]
        return np.bincount(cell, minlength=classes**2).reshape(classes, classes)

    return call


def _opencv_confusion(inputs: Inputs) -> Callable[[], Any]:
    """A two-dimensional histogram; the ignore label lies outside its range. Counts are float32."""
    import cv2

    images, classes = [inputs.target[0].numpy(), inputs.prediction[0].numpy()], inputs.classes
    ranges = [0, classes, 0, classes]
    return lambda: cv2.calcHist(images, [0, 1], None, [classes, classes], ranges).astype(np.int64)


def _sklearn_confusion(inputs: Inputs) -> Callable[[], Any]:
    from sklearn.metrics import confusion_matrix

    prediction, target = inputs.prediction.numpy().ravel(), inputs.target.numpy().ravel()
    classes = np.arange(inputs.classes)
    return lambda: confusion_matrix(target, prediction, labels=classes)


PROVIDERS = {
    "label_resize": [
        copy_of_the_same_bytes(),
        Provider(OFFICIAL, _official_resize, studies=FIRST, cannot=too_large(_planes)),
        Provider(COMPILED, _compiled_resize, cannot=too_large(_planes)),
        Provider("OpenCV resize, class by class", _opencv_resize, "opencv"),
        small_torch_op(),
        *ours("label_resize", lambda i: ((i.labels, i.size), {"num_classes": i.classes})),
    ],
    "maskige_evaluate": [
        copy_of_the_same_bytes(),
        Provider(OFFICIAL, _official_evaluate, studies=FIRST, cannot=too_large(_planes)),
        Provider(COMPILED + " and bincount", _compiled_evaluate, cannot=too_large(_planes)),
        small_torch_op(),
        *ours("maskige_evaluate", lambda i: ((i.maskige, i.palette, i.target), {})),
    ],
    "confusion_matrix": [
        copy_of_the_same_bytes(),
        Provider("eager PyTorch, bincount", _official_confusion, studies=FIRST),
        Provider(COMPILED, _compiled_confusion),
        Provider("numpy bincount", _numpy_confusion, "numpy"),
        Provider("OpenCV calcHist", _opencv_confusion, "opencv"),
        Provider("scikit-learn", _sklearn_confusion, "scikit-learn"),
        small_torch_op(),
        *ours("confusion_matrix", lambda i: ((i.prediction, i.target, i.classes), {})),
    ],
}
