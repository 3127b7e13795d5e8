"""How often the classes of a data set touch: the borders along which one colour is blurred into another."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from gss.data.listing import Pair
from gss.io.labels import read_label
from gsskernels import confusion_matrix


def touching_pixels(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Pairs of neighbouring pixels of two classes in a label map, integer (H, W), 255 = ignore: int64 (K, K).

    Neighbours share a side. The matrix is symmetric with a zero diagonal; row k sums to the length of the border of
    class k with other classes, in pixel sides. Labels outside 0..K-1 touch nothing.
    """
    if labels.ndim != 2:
        raise ValueError(f"labels: expected (H, W), got {tuple(labels.shape)}")
    # A confusion matrix of the map with itself, shifted by one pixel.
    across = confusion_matrix(labels[:, 1:], labels[:, :-1], num_classes)
    down = confusion_matrix(labels[1:], labels[:-1], num_classes)
    pairs = across + down
    return (pairs + pairs.T).fill_diagonal_(0)


def touching_classes(pairs: Iterable[Pair], num_classes: int) -> torch.Tensor:
    """`touching_pixels` summed over the label files of a split: int64 (K, K).

    `pairs` is what `gss.data.sources.layouts.list_split` lists. Raises ValueError for class ids outside 0..K-1.
    """
    total = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for pair in pairs:
        labels = read_label(pair.label, remap=pair.remap)
        outside = [value for value in labels.unique().tolist() if num_classes <= value != 255]
        if outside:
            shown = ", ".join(map(str, outside))
            raise ValueError(f"{pair.label}: expected class ids 0..{num_classes - 1}, or 255 for ignore, got {shown}")
        total += pair.repeat * touching_pixels(labels, num_classes)
    return total
