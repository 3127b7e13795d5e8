"""Pictures of labels, tokens and margins, drawn with Pillow alone."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageFont

from gss.palette import Palette

GAP = 16
BACKGROUND = (255, 255, 255)
INK = (32, 36, 44)
FAINT_INK = (110, 116, 128)
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# From black over violet and orange to pale yellow. Brightness rises evenly, so the map also reads in grey.
MARGIN_RAMP = ((4, 3, 18), (66, 16, 102), (147, 40, 98), (221, 82, 58), (249, 157, 34), (252, 247, 190))

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def to_pillow(image: torch.Tensor) -> Image.Image:
    """A uint8 (3, H, W) tensor as a Pillow image."""
    return Image.fromarray(image.detach().cpu().permute(1, 2, 0).contiguous().numpy())


def colorize(labels: torch.Tensor, palette: Palette) -> Image.Image:
    """Labels uint8 (H, W) in the palette's colours; labels without a class get the ignore colour.

    >>> palette = Palette("two", ("sky", "car"), ((0, 0, 200), (200, 0, 0)))
    >>> colorize(torch.tensor([[1, 255]], dtype=torch.uint8), palette).getpixel((0, 0))
    (200, 0, 0)
    """
    return Image.fromarray(palette.color_table()[to_array(labels)])


def overlay(image: torch.Tensor, labels: torch.Tensor, palette: Palette, alpha: float = 0.55) -> Image.Image:
    """A photo with the colours of its classes blended over it and thin borders between them.

    Args:
        image: uint8 (3, H, W).
        labels: uint8 (H, W); pixels without a class keep the photo's colour.
        palette: gives the colours.
        alpha: the weight of the colours, 0 (photo only) to 1 (colours only).

    Raises:
        ValueError: `alpha` out of range, or labels of another size.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha: expected a number from 0 to 1, got {alpha}")
    if image.shape[1:] != labels.shape:
        raise ValueError(f"labels: expected the size of the image {tuple(image.shape[1:])}, got {tuple(labels.shape)}")
    return blend_classes(to_pillow(image), to_array(labels), palette, alpha)


def token_mosaic(tokens: torch.Tensor) -> Image.Image:
    """Tokens (ht, wt) as an image of one pixel a token; a token id always has the same colour.

    Multiples of the golden ratio spread evenly over the colour circle, so neighbouring ids, which are unrelated, look
    different.

    >>> token_mosaic(torch.tensor([[0, 1, 0]])).size
    (3, 1)
    """
    ids = tokens.detach().cpu().numpy().astype(np.float64)
    hue = (ids * GOLDEN_RATIO) % 1.0
    saturation = 0.45 + 0.4 * ((ids * GOLDEN_RATIO**2 * 7) % 1.0)
    value = 0.65 + 0.3 * ((ids * math.sqrt(2)) % 1.0)
    hsv = (np.stack([hue, saturation, value], axis=-1) * 255).round().astype(np.uint8)
    return Image.frombytes("HSV", (ids.shape[1], ids.shape[0]), hsv.tobytes()).convert("RGB")


def margin_map(margin: torch.Tensor, maximum: float | None = None) -> tuple[Image.Image, float]:
    """The margin (H, W) as an image, dark where the decision is unsure, and the value of the brightest colour.

    The brightest colour stands for `maximum`, or for the 95th percentile of the finite margins, and for everything
    above. NaN is drawn as 0.

    >>> margin_map(torch.tensor([[0.0, 8.0]]), 4.0)[0].getpixel((1, 0))
    (252, 247, 190)
    """
    values = np.nan_to_num(to_array(margin).astype(np.float64), nan=0.0, posinf=np.inf)
    if maximum is None:
        finite = values[np.isfinite(values)]
        maximum = float(np.percentile(finite, 95)) if finite.size else 1.0
    maximum = maximum if maximum > 0 else 1.0
    return Image.fromarray(ramp(np.clip(values / maximum, 0.0, 1.0))), maximum


def contact_sheet(maps: torch.Tensor, palette: Palette) -> Image.Image:
    """Label maps uint8 (N, H, W) in the palette's colours, side by side in a grid about as wide as high."""
    count, height, width = maps.shape
    columns = min(count, max(1, math.ceil(math.sqrt(count * height / width))))
    rows = math.ceil(count / columns)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), BACKGROUND)
    for index in range(count):
        row, column = divmod(index, columns)
        sheet.paste(colorize(maps[index], palette), (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    return sheet


def blend_classes(photo: Image.Image, labels: np.ndarray, palette: Palette, alpha: float) -> Image.Image:
    """`overlay` of a Pillow photo and labels uint8 (H, W)."""
    pixels = np.asarray(photo).astype(np.float32)
    classes = np.asarray(colorize(torch.from_numpy(labels.copy()), palette)).astype(np.float32)
    weight = np.where(labels < palette.num_classes, alpha, 0.0)[..., None].astype(np.float32)
    blended = pixels + weight * (classes - pixels)
    border = np.zeros(labels.shape, bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:, :] |= labels[1:, :] != labels[:-1, :]
    blended[border] = 0.45 * blended[border] + 0.55 * 255
    return Image.fromarray(blended.round().astype(np.uint8))


def ramp(values: np.ndarray) -> np.ndarray:
    """Values 0..1 as uint8 RGB along MARGIN_RAMP, linearly between its colours."""
    stops = np.linspace(0.0, 1.0, len(MARGIN_RAMP))
    channels = [np.interp(values, stops, [color[c] for color in MARGIN_RAMP]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def font_of_size(size: int) -> Font:
    return ImageFont.load_default(size=size)


def to_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()
