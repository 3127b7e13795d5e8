"""Layers on a few rows of a map at a time: intermediate tensors wider than the map never exist whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_row_bands(
    function: Callable[[Tensor, int], Tensor],
    x: Tensor,
    *,
    rows: int,
    dim: int = 2,
    halo: int = 0,
    up: int = 1,
    down: int = 1,
) -> Tensor:
    """function(x, 0), computed in bands of rows; equal up to the rounding of convolutions of another size.

    Images are taken one by one, so that a band has many rows for the few of its border that are computed twice. Where a
    gradient is wanted, the inside of a band is computed again in the backward pass.

    Args:
        function: (band, first row of the band in x) -> band; from n rows to n * up // down. Each row of the result may
            depend on rows of x up to `halo` away. Padding at the borders of the map is the function's own.
        x: a map with batch first and rows along `dim`: (B, C, H, W) with dim 2, (B, H, W, C) with dim 1.
        rows: of x in one band; a multiple of `down`.
        halo: rows of x; a multiple of `down`.

    Returns:
        The map, in the memory format of the bands.
    """
    height = x.shape[dim]

    def part(image: Tensor, first: int) -> Tensor:
        last = min(first + rows, height)
        start, stop = max(first - halo, 0), min(last + halo, height)
        band = function(image.narrow(dim, start, stop - start), start)
        begin, end, offset = (row * up // down for row in (first, last, start))
        return band.narrow(dim, begin - offset, end - begin)

    firsts = range(0, height, rows)
    if torch.is_grad_enabled():
        images = [
            torch.cat([checkpoint(part, image, first, use_reentrant=False) for first in firsts], dim)
            for image in x.split(1)
        ]
        return torch.cat(images)
    result: Tensor | None = None
    for index, image in enumerate(x.split(1)):
        for first in firsts:
            band = part(image, first)
            if result is None:
                shape = [len(x), *band.shape[1:]]
                shape[dim] = height * up // down
                channels_last = band.ndim == 4 and band.is_contiguous(memory_format=torch.channels_last)
                layout = torch.channels_last if channels_last else torch.contiguous_format
                result = torch.empty(shape, dtype=band.dtype, device=band.device, memory_format=layout)
            begin = first * up // down
            result[index].narrow(dim - 1, begin, band.shape[dim]).copy_(band[0])
    assert result is not None  # a map has rows
    return result
