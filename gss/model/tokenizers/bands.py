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

    Where a gradient is wanted the layers see the whole map, since it would keep everything alive anyway. Where bands
    are needed images are taken one by one, so that a band has many rows for the few that it computes twice.

    Args:
        layers: from n rows to n * up // down; each row of its result may depend on rows up to `halo` away from where it
            comes from. Zero padding at the borders of the map is its own affair.
        x: (B, C, H, W).
        halo: rows of `x`.
        row_bytes: of the widest tensor inside, for each row of one image of `x`.
    """
    height = x.shape[2]
    if len(x) * height * row_bytes <= BAND_BYTES or (torch.is_grad_enabled() and x.requires_grad):
        return layers(x)
    rows = max(BAND_BYTES // row_bytes, halo, 1)
    rows, halo = rows + -rows % down, halo + -halo % down
    result: Tensor | None = None
    for index, image in enumerate(x.split(1)):
        for first in range(0, height, rows):
            last = min(first + rows, height)
            start, stop = max(first - halo, 0), min(last + halo, height)
            part = layers(image[:, :, start:stop])
            if result is None:
                shape = (len(x), part.shape[1], height * up // down, part.shape[3])
                channels_last = part.is_contiguous(memory_format=torch.channels_last)
                result = torch.empty(
                    shape,
                    dtype=part.dtype,
                    device=part.device,
                    memory_format=torch.channels_last if channels_last else torch.contiguous_format,
                )
            begin, end, offset = (row * up // down for row in (first, last, start))
            result[index, :, begin:end] = part[0, :, begin - offset : end - offset]
    assert result is not None  # a map has rows
    return result
