"""A picture decoded band by band, the same way whether its pixels are colours or stand for colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gss.prediction.painted.nearest import Nearest
from gss.prediction.painted.picture import Picture


class Band(NamedTuple):
    """Rows of the picture; labels uint8 (r, W); margin float32 (r, W), or None where it was not asked for."""

    rows: slice
    labels: Tensor
    margin: Tensor | None


def decode_bands(picture: Picture, nearest: Nearest, *, margin: bool) -> Iterator[Band]:
    """The bands of `picture`, from top to bottom; afterwards `nearest` knows its unknown colours.

    Raises ValueError for class ids outside the palette, UnreadableFile for a damaged file.
    """
    if picture.table is None and not picture.ids:
        for rows, image in picture.rows():
            yield Band(rows, *nearest(image, margin=margin))
        return
    values = _class_ids(picture, nearest) if picture.ids else _table_values(picture, nearest)
    used = np.zeros(256, np.int64)
    for rows, band in picture.rows():
        stored = band.numpy()
        counts = np.bincount(stored.ravel(), minlength=256)
        values.check(counts, picture.name)
        used += counts
        labels, distance = values.labels[stored], values.margin[stored] if margin else None
        yield Band(rows, torch.from_numpy(labels), None if distance is None else torch.from_numpy(distance))
    unknown = np.flatnonzero(values.unknown & (used > 0))
    if unknown.size:
        nearest.add(values.colors[unknown], used[unknown])


class _Values(NamedTuple):
    """What each of the 256 values stands for: its colour, label and margin, whether that colour is unknown, whether
    the value may occur at all, and what is wrong if it does."""

    colors: np.ndarray
    labels: np.ndarray
    margin: np.ndarray
    unknown: np.ndarray
    allowed: np.ndarray
    complaint: str

    def check(self, counts: np.ndarray, name: str) -> None:
        wrong = np.flatnonzero(~self.allowed & (counts > 0))
        if len(wrong):
            raise ValueError(f"{name}: {self.complaint.format(', '.join(map(str, wrong.tolist())))}")


def _class_ids(picture: Picture, nearest: Nearest) -> _Values:
    """Each value is its own label, as sure as the exact colour of its class."""
    palette, ids = nearest.palette, np.arange(256, dtype=np.uint8)
    colors = palette.color_table()
    _, margin, _ = nearest.table(colors)
    allowed = (ids < palette.num_classes) | (ids == palette.ignore_index)
    complaint = (
        f"grey values {{}} are no class ids of the palette {palette.name!r} (0..{palette.num_classes - 1}, and 255 "
        'for ignore); with grey="colors" (--grey colors) they are decoded as grey colours'
    )
    return _Values(colors, ids, margin, np.zeros(256, bool), allowed, complaint)


def _table_values(picture: Picture, nearest: Nearest) -> _Values:
    assert picture.table is not None
    size = len(picture.table)
    colors = np.zeros((256, 3), np.uint8)
    colors[:size] = picture.table
    complaint = f"the values {{}} are outside its colour table of {size} colours"
    return _Values(colors, *nearest.table(colors), np.arange(256) < size, complaint)
