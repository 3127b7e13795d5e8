"""Pictures in memory to labels in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.palette import Palette, get_palette
from gss.prediction.painted.nearest import Nearest
from gss.prediction.painted.picture import Grey, Picture, from_tensor, open_picture, pillow_limit
from gss.prediction.painted.unknown import UnknownColors


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture, or batch of pictures.

    >>> import numpy as np, gss
    >>> red = np.full((1, 2, 3), (200, 0, 0), np.uint8)
    >>> decoded = gss.decode(red, gss.Palette("two", ("sky", "car"), ((0, 0, 200), (196, 0, 0))))
    >>> decoded.labels, decoded.unknown.pixels
    (tensor([[1, 1]], dtype=torch.uint8), 0)

    labels: uint8 (H, W) or (B, H, W), class ids, 255 where the ignore colour is nearest.
    margin: float32 of that shape, or None where it was not asked for: the distance in levels (0..255) from the pixel's
        colour to the wall between the nearest and the second nearest colour; 0 is undecided, +inf where there is only
        one colour.
    unknown: the colours that are near no colour of the palette. Their pixels have the nearest label all the same.
    """

    labels: Tensor
    margin: Tensor | None
    unknown: UnknownColors


def decode(
    image: Any,
    palette: Palette | str | PathLike[str],
    *,
    margin: bool = True,
    grey: Grey = "ids",
    ignore_color: bool = True,
    unknown_tolerance: float | None = None,
    strict: bool = False,
) -> Decoded:
    """The class of every pixel of a colour-coded picture: that of the nearest palette colour, the lowest on ties.

    Args:
        image: a path, PIL image, uint8 array (H, W, 3) or (H, W), or tensor (3, H, W) or (B, 3, H, W), uint8 or
            floating in 0..1 as image generators give them (decoded without rounding). Index PNGs are decoded through
            their colour table; alpha is dropped; pictures come upright.
        palette: a palette, the name of a shipped one, or the path of its JSON file.
        margin: also give the margin of every pixel.
        grey: the meaning of the values of a picture of one grey channel: "ids", the class ids themselves, as in the
            label maps of data sets, or "colors". JPEGs, whose values are never exact, and tensors always hold colours.
        ignore_color: let the palette's ignore colour take part, as label 255; a class of the same colour wins.
        unknown_tolerance: from which distance in levels to every colour a colour counts as unknown. None: 16, or half
            the distance of the closest two colours where that is less.
        strict: unknown colours are an error.

    Returns:
        `Decoded`, on the device of a tensor, else on the CPU.

    Raises:
        FileNotFoundError, UnreadableFile: no such file, or a damaged one.
        TypeError, ValueError: an argument that is none of the above, more than 8 bits a channel, floating values
            outside 0..1, class ids outside the palette, with `strict` unknown colours; a file of more pixels than
            Pillow opens, which `gss.prediction.painted.decode_file` decodes.
    """
    nearest = Nearest(get_palette(palette), ignore_color=ignore_color, tolerance=unknown_tolerance)
    if isinstance(image, Tensor):
        _check_tensor(image)
        name = "image"
        labels, distance = _outputs(image.shape[:-3] + image.shape[-2:], image.device, margin)
        for index in np.ndindex(image.shape[:-3]):  # one index a picture of a batch, one empty index without a batch
            _decode(from_tensor(image[index]), nearest, labels[index], None if distance is None else distance[index])
    else:
        picture = open_picture(image, grey)
        if isinstance(image, (str, PathLike)):
            _require_small(picture)
        name = picture.name
        labels, distance = _outputs((picture.height, picture.width), torch.device("cpu"), margin)
        _decode(picture, nearest, labels, distance)
    unknown = nearest.unknown()
    if strict:
        require_known(unknown, nearest.palette, name)
    return Decoded(labels, distance, unknown)


def decode_bands(picture: Picture, nearest: Nearest, *, margin: bool) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
    """The rows of each band of `picture`, from top to bottom, its labels uint8 (r, W), and its margin float32 (r, W).

    The margin is None unless asked for. `nearest` collects the unknown colours. Raises ValueError for class ids outside
    the palette and values outside the colour table, UnreadableFile for a damaged file.
    """
    if picture.table is None and not picture.ids:
        for rows, band in picture.rows():
            yield rows, *nearest(band, margin=margin)
        return
    lookup = nearest.class_ids() if picture.table is None else nearest.table(picture.table)
    used = np.zeros(256, np.int64)
    for rows, band in picture.rows():
        values = band.numpy()
        counts = np.bincount(values.ravel(), minlength=256)
        lookup.check(counts, picture.name)
        used += counts
        yield rows, torch.from_numpy(lookup.labels[values]), torch.from_numpy(lookup.margin[values]) if margin else None
    unknown = np.flatnonzero(lookup.unknown & (used > 0))
    if unknown.size:
        nearest.add(lookup.colors[unknown], used[unknown])


def require_known(unknown: UnknownColors, palette: Palette, name: str) -> None:
    """Raises ValueError that lists the unknown colours, if there are any."""
    if unknown.pixels:
        raise ValueError(f"{name}: colours that are not in the palette {palette.name!r}: {unknown}")


def _outputs(size: Sequence[int], device: torch.device, margin: bool) -> tuple[Tensor, Tensor | None]:
    """Room for labels and, where they are asked for, margins."""
    labels = torch.empty(tuple(size), dtype=torch.uint8, device=device)
    return labels, torch.empty(tuple(size), dtype=torch.float32, device=device) if margin else None


def _decode(picture: Picture, nearest: Nearest, labels: Tensor, margin: Tensor | None) -> None:
    """Writes labels and margin (H, W) of the picture."""
    for rows, band_labels, band_margin in decode_bands(picture, nearest, margin=margin is not None):
        labels[rows] = band_labels
        if margin is not None and band_margin is not None:
            margin[rows] = band_margin


def _check_tensor(image: Tensor) -> None:
    if not (image.is_floating_point() or image.dtype == torch.uint8):
        raise TypeError(f"image: expected uint8 or floating values, got {image.dtype}")
    if image.ndim not in (3, 4) or image.shape[-3] != 3 or image.numel() == 0:
        raise ValueError(f"image: expected (3, H, W) or (B, 3, H, W) with at least one pixel, got {tuple(image.shape)}")
    if image.is_floating_point():
        low, high = float(image.min()), float(image.max())
        if not (low >= 0 and high <= 1):  # written so that NaN fails
            raise ValueError(f"image: expected floating values 0..1, got {low:g} to {high:g}")


def _require_small(picture: Picture) -> None:
    limit = pillow_limit()
    if limit is not None and picture.height * picture.width > limit:
        raise ValueError(
            f"{picture.name}: expected at most {limit} pixels, got {picture.width} x {picture.height}; "
            "gss.prediction.painted.decode_file decodes larger pictures, from file to file"
        )
