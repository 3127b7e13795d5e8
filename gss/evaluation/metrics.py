"""Segmentation metrics, all from one confusion matrix.

Counts are added up over the whole set before any ratio is taken, so the mIoU does not depend on batch size or order.
Classes that occur in neither prediction nor target have no IoU and stay out of the means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from gsskernels import confusion_matrix


class SegmentationMetrics:
    """Accumulates a (K, K) int64 confusion matrix: rows are target classes, columns predictions.

    Pixels with target `ignore_index` are not counted. A prediction outside 0..K-1 on a labelled pixel is wrong for the
    target's class; such pixels are kept in `unassigned` (K,), because no column of the matrix can hold them. A target
    outside 0..K-1 is a class that the prediction cannot name: what is predicted there is wrong for the predicted class,
    kept in `misplaced` (K,), and no class has the pixel in its target area. The official evaluation counts the same.
    """

    def __init__(self, num_classes: int, class_names: Sequence[str] | None = None, ignore_index: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: expected at least 1, got {num_classes}")
        names = [f"class {k}" for k in range(num_classes)] if class_names is None else list(class_names)
        if len(names) != num_classes or len(set(names)) != num_classes:
            raise ValueError(f"class_names: expected {num_classes} distinct names, got {names}")
        self.num_classes = num_classes
        self.class_names = tuple(names)
        self.ignore_index = ignore_index
        self.confusion = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64)
        self.unassigned = torch.zeros(self.num_classes, dtype=torch.int64)
        self.misplaced = torch.zeros(self.num_classes, dtype=torch.int64)

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        """Adds integer label maps of one shape, on any device. Raises ValueError when the shapes differ."""
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction: expected the target's shape {tuple(target.shape)}, got {tuple(prediction.shape)}"
            )
        matrix = confusion_matrix(prediction, target, self.num_classes, ignore_index=self.ignore_index).cpu()
        self.confusion += matrix
        labelled, has_class = target != self.ignore_index, self._is_class(target)
        self.unassigned += self._count(target[labelled & has_class]) - matrix.sum(1)
        self.misplaced += self._count(prediction[labelled & ~has_class & self._is_class(prediction)])

    def areas(self) -> torch.Tensor:
        """Pixels of every class, (4, K) int64: hits, union, prediction, target; union = prediction + target - hits."""
        hits = self.confusion.diagonal()
        predicted, target = self.confusion.sum(0) + self.misplaced, self.confusion.sum(1) + self.unassigned
        return torch.stack((hits, predicted + target - hits, predicted, target))

    def compute(self) -> dict[str, Any]:
        """mIoU, mAcc, aAcc in 0..1 and, under "per_class", IoU, Acc and target pixels of every class.

        IoU_k = hits / (target + predicted - hits), Acc_k = hits / target, aAcc = all hits / all target pixels. A ratio
        with an empty denominator is None and stays out of the mean, so all values can go to JSON as they are.
        """
        hits, union, _, target = self.areas()
        iou = [_ratio(int(h), int(u)) for h, u in zip(hits, union, strict=True)]
        accuracy = [_ratio(int(h), int(t)) for h, t in zip(hits, target, strict=True)]
        return {
            "mIoU": _mean(iou),
            "mAcc": _mean(accuracy),
            "aAcc": _ratio(int(hits.sum()), int(target.sum())),
            "per_class": {
                name: {"IoU": iou[k], "Acc": accuracy[k], "pixels": int(target[k])}
                for k, name in enumerate(self.class_names)
            },
        }

    def _is_class(self, labels: torch.Tensor) -> torch.Tensor:
        return (labels >= 0) & (labels < self.num_classes)

    def _count(self, labels: torch.Tensor) -> torch.Tensor:
        return torch.bincount(labels.reshape(-1).to(torch.int64), minlength=self.num_classes).cpu()


def harmonic_mean(values: Sequence[float]) -> float:
    """n / sum(1 / v): how the paper sums up the mIoU of MSeg's test sets (table 6). 0 where one of the values is 0.

    Raises ValueError for no values, and for one that is missing, negative or not finite: it would not be the mean of
    the same test sets.
    """
    numbers = list(values)
    if not numbers or any(v is None or not 0 <= v < math.inf for v in numbers):
        raise ValueError(f"values: expected at least one number >= 0 and nothing else, got {numbers}")
    return 0.0 if 0 in numbers else len(numbers) / sum(1 / v for v in numbers)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def percent(value: float | None) -> str:
    """A fraction as a percentage with one decimal; a dash for a value that does not exist (None or NaN)."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f} %"
