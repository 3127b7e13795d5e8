"""Convolutional layers on a few rows of a map at a time, so that only what is kept exists at its full size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Bytes of the widest tensor of one band. A band's border rows are computed twice: larger bands waste less of that.
BAND_BYTES = 1 << 28


def in_row_bands(
    layers: Callable[[Tensor], Tensor], x: Tensor, *, halo: int, row_bytes: int, up: int = 1, down: int = 1
) -> Tensor:
    """`layers(x)`, computed in bands of rows; the same numbers, as far as convolutions of other sizes round alike.

    Where a gradient is wanted the layers see the whole map, since it would keep everything alive anyway.

    Args:
        layers: from n rows to n * up // down; each row of its result may depend on rows up to `halo` away from where it
            comes from. Zero padding at the borders of the map is its own affair.
        x: (B, C, H, W).
        halo: rows of `x`.
        row_bytes: of the widest tensor inside, for each row of `x`.
    """
    height = x.shape[2]
    rows = max(BAND_BYTES // row_bytes, halo, 1)
    rows, halo = rows + -rows % down, halo + -halo % down
    if rows >= height or (torch.is_grad_enabled() and x.requires_grad):
        return layers(x)
    result: Tensor | None = None
    for first in range(0, height, rows):
        last = min(first + rows, height)
        start, stop = max(first - halo, 0), min(last + halo, height)
        part = layers(x[:, :, start:stop])
        if result is None:
            result = part.new_empty(*part.shape[:2], height * up // down, part.shape[3])
        begin, end, offset = (row * up // down for row in (first, last, start))
        result[:, :, begin:end] = part[:, :, begin - offset : end - offset]
    assert result is not None  # a map has rows
    return result
