"""Segmentation metrics from one confusion matrix.

Counts are added up over the whole set before any ratio is taken, so the mIoU does not depend on batch size or order.
Classes that occur in neither prediction nor target have no IoU and are left out of the means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from gsskernels import confusion_matrix


class SegmentationMetrics:
    """Accumulates a (K, K) int64 confusion matrix: rows are target classes, columns predictions.

    Pixels with the target `ignore_index` are not counted. Two cases have no place in the matrix, and count as the
    official evaluation counts them:

    - A prediction outside 0..K-1 on a labelled pixel is wrong for the target's class: `unassigned` (K,).
    - A target outside 0..K-1 is wrong for the predicted class, and no class has the pixel in its target area:
      `misplaced` (K,).

    Raises ValueError for fewer than one class and for names that are not K distinct ones.

    Example:
        >>> metrics = SegmentationMetrics(2, ["road", "sky"])
        >>> metrics.update(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]))
        >>> metrics.compute()["mIoU"]
        0.5
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
        """Add integer label maps of one shape, on any device. Raises ValueError if the shapes differ."""
        if prediction.shape != target.shape:
            expected, got = tuple(target.shape), tuple(prediction.shape)
            raise ValueError(f"prediction: expected the target's shape {expected}, got {got}")
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
        with the denominator 0 is None and is left out of the mean. All values can be written as JSON.
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
    """n / sum(1 / v), which sums up the mIoU of MSeg's test sets (arXiv 2303.11316, table 6); 0 if one value is 0.

    Raises ValueError for no values, and for a value that is None, negative or not finite.

    Example:
        >>> harmonic_mean([0.5, 1.0])
        0.6666666666666666
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
    """A fraction as a percentage with one decimal; a dash for None and NaN.

    Example:
        >>> percent(0.776), percent(None)
        ('77.6 %', '-')
    """
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f} %"
