"""Miniature data sets: files of a few pixels under the names that the official ones have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, size: tuple[int, int] = (4, 6)) -> None:
    """A grey (height, width) picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(path)


def write_ids(path: Path, ids: list[int], size: tuple[int, int] = (4, 6)) -> None:
    """A label file: `ids` one after the other, the last one in the rest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.full(size[0] * size[1], ids[-1], np.uint8)
    labels[: len(ids)] = ids
    Image.fromarray(labels.reshape(size)).save(path)
