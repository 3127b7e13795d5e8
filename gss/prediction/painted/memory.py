"""Pictures in memory to labels in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gss.palette import Palette, get_palette
from gss.prediction.painted.bands import decode_bands
from gss.prediction.painted.nearest import Nearest
from gss.prediction.painted.picture import Grey, Picture, open_picture, picture_of
from gss.prediction.painted.unknown import UnknownColors


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture, or batch of pictures.

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
    """The class of every pixel of a colour-coded picture: the palette colour nearest to it, the lowest class on ties.

    Args:
        image: a path, PIL image, uint8 array (H, W, 3) or (H, W), or tensor (3, H, W) or (B, 3, H, W), uint8 or
            floating in 0..1 as image generators give them (decoded without rounding). Index PNGs are decoded through
            their colour table; alpha is dropped; pictures come upright.
        palette: a palette, the name of a shipped one, or the path of its JSON file.
        margin: also give the margin of every pixel.
        grey: what the values of a picture of one grey channel are: "ids", the class ids themselves, as in the label
            maps of data sets, or "colors". JPEGs, whose values are never exact, and tensors are always colours.
        ignore_color: let the palette's ignore colour take part, as label 255; a class of the same colour wins. It does
            not in the margins of a model, which never paints it.
        unknown_tolerance: from which distance in levels to every colour a colour counts as unknown. None: 16, or half
            the distance of the closest two colours where that is less.
        strict: unknown colours are an error.

    Returns:
        `Decoded`, on the device of a tensor, else on the CPU.

    Raises:
        FileNotFoundError, UnreadableFile: no such file, or a damaged one.
        TypeError, ValueError: an argument that is none of the above, more than 8 bits a channel, floating values
            outside 0..1, class ids outside the palette, with `strict` unknown colours; a file of more pixels than
            Pillow opens: `decode_file` decodes those.
    """
    nearest = Nearest(get_palette(palette), ignore_color=ignore_color, tolerance=unknown_tolerance)
    if isinstance(image, Tensor):
        _check_tensor(image)
        name = "image"
        labels, distance = _outputs(image.shape[:-3] + image.shape[-2:], image.device, margin)
        for index in np.ndindex(image.shape[:-3]):  # of the pictures of a batch; one empty index without one
            _decode(picture_of(image[index]), nearest, labels[index], None if distance is None else distance[index])
    else:
        with open_picture(image, grey) as picture:
            if isinstance(image, (str, PathLike)):
                _require_small(picture)
            name = picture.name
            labels, distance = _outputs((picture.height, picture.width), torch.device("cpu"), margin)
            _decode(picture, nearest, labels, distance)
    unknown = nearest.unknown()
    if strict:
        require_known(unknown, nearest.palette, name)
    return Decoded(labels, distance, unknown)


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
    for band in decode_bands(picture, nearest, margin=margin is not None):
        labels[band.rows] = band.labels
        if margin is not None and band.margin is not None:
            margin[band.rows] = band.margin


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
    limit = 2 * Image.MAX_IMAGE_PIXELS if Image.MAX_IMAGE_PIXELS else None  # where Pillow raises
    if limit is not None and picture.height * picture.width > limit:
        raise ValueError(
            f"{picture.name}: expected at most {limit} pixels, got {picture.width} x {picture.height}; "
            "gss.prediction.painted.files.decode_file decodes larger pictures, in bands of rows"
        )
