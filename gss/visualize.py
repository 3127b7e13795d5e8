"""Pictures of what the model does: photo, tokens, maskige, classes and margin, drawn with Pillow alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from gss.palette import Palette

if TYPE_CHECKING:
    from gss.result import Result

PANEL_WIDTH = (320, 640)  # narrower photos are enlarged to the first, wider ones reduced to the second
PANEL_HEIGHT = 960  # what is higher then is reduced, whatever its width
GAP = 16
BACKGROUND = (255, 255, 255)
INK = (32, 36, 44)
FAINT_INK = (110, 116, 128)
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# Black over violet and orange to pale yellow: brightness rises evenly, so the map also reads in grey.
MARGIN_RAMP = ((4, 3, 18), (66, 16, 102), (147, 40, 98), (221, 82, 58), (249, 157, 34), (252, 247, 190))

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def to_pillow(image: torch.Tensor) -> Image.Image:
    """A uint8 (3, H, W) tensor as a Pillow image."""
    return Image.fromarray(image.detach().cpu().permute(1, 2, 0).contiguous().numpy())


def colorize(labels: torch.Tensor, palette: Palette) -> Image.Image:
    """Labels uint8 (H, W) in the palette's colours; labels without a class get the ignore colour."""
    return Image.fromarray(palette.color_table()[_array(labels)])


def overlay(image: torch.Tensor, labels: torch.Tensor, palette: Palette, alpha: float = 0.55) -> Image.Image:
    """The photo uint8 (3, H, W) with the classes of labels uint8 (H, W) blended over it and thin borders between them.

    `alpha` is the weight of the colours, 0 (photo only) to 1 (colours only). Pixels without a class stay as they are.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha: expected a number from 0 to 1, got {alpha}")
    if image.shape[1:] != labels.shape:
        raise ValueError(f"labels: expected the size of the image {tuple(image.shape[1:])}, got {tuple(labels.shape)}")
    return _overlay(to_pillow(image), _array(labels), palette, alpha)


def token_mosaic(tokens: torch.Tensor) -> Image.Image:
    """Tokens (ht, wt) as an image of one pixel a token; a token id always has the same colour.

    Multiples of the golden ratio spread over the colour circle without ever meeting, so that neighbouring ids, which
    mean nothing to each other, look different.
    """
    ids = tokens.detach().cpu().numpy().astype(np.float64)
    hue = (ids * GOLDEN_RATIO) % 1.0
    saturation = 0.45 + 0.4 * ((ids * GOLDEN_RATIO**2 * 7) % 1.0)
    value = 0.65 + 0.3 * ((ids * math.sqrt(2)) % 1.0)
    hsv = (np.stack([hue, saturation, value], axis=-1) * 255).round().astype(np.uint8)
    return Image.frombytes("HSV", (ids.shape[1], ids.shape[0]), hsv.tobytes()).convert("RGB")


def margin_map(margin: torch.Tensor, maximum: float | None = None) -> tuple[Image.Image, float]:
    """The margin (H, W) as an image, dark where the decision is unsure, and the value of the brightest colour.

    That value is `maximum`, or the 95th percentile of the finite margins; larger margins, infinite ones too, look the
    same. NaN is drawn as 0.
    """
    values = np.nan_to_num(_array(margin).astype(np.float64), nan=0.0, posinf=np.inf)
    if maximum is None:
        finite = values[np.isfinite(values)]
        maximum = float(np.percentile(finite, 95)) if finite.size else 1.0
    maximum = maximum if maximum > 0 else 1.0
    return Image.fromarray(_ramp(np.clip(values / maximum, 0.0, 1.0))), maximum


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


def strip(result: Result) -> Image.Image:
    """The pictures of a prediction side by side, each with a title and a caption.

    Photo, tokens, maskige, overlay with a legend of the classes in it, margin, certainty (as exp(-H), 1 over the number
    of equally likely classes). Panels have the photo's aspect ratio and fit into 640 x 960 pixels; those for which the
    result has no data are left out.
    """
    height, width = result.image.shape[1:]
    size = _panel_size(width, height)
    column_width = max(size[0], PANEL_WIDTH[0])
    photo = to_pillow(result.image).resize(size, Image.Resampling.LANCZOS)
    labels = np.asarray(Image.fromarray(_array(result.labels)).resize(size, Image.Resampling.NEAREST))
    margin, maximum = margin_map(result.margin)

    panels = [_Panel("photo", photo, [f"{width} x {height} pixels"])]
    if result.tokens is not None:
        rows, columns = result.tokens.shape
        distinct = int(result.tokens.unique().numel())
        mosaic = token_mosaic(result.tokens).resize(size, Image.Resampling.NEAREST)
        panels.append(_Panel("tokens", mosaic, [f"{columns} x {rows} tokens", f"{distinct} different codes"]))
    if result.maskige is not None:
        maskige = to_pillow(result.maskige).resize(size, Image.Resampling.NEAREST)
        panels.append(_Panel("maskige", maskige, ["what the tokens decode to"]))
    panels.append(_Panel("overlay", _overlay(photo, labels, result.palette, 0.55), [], _legend(result, column_width)))
    bar = _scale_bar(f"{maximum:.3g} or more", column_width)
    panels.append(_Panel("margin", margin.resize(size, Image.Resampling.BILINEAR), [], bar))
    if result.certainty is not None:
        certainty, _ = margin_map(result.certainty.exp(), 1.0)
        bar = _scale_bar("one class", column_width)
        panels.append(_Panel("certainty", certainty.resize(size, Image.Resampling.BILINEAR), [], bar))
    return _side_by_side(panels, column_width)


@dataclass(frozen=True)
class _Panel:
    title: str
    picture: Image.Image
    caption: list[str]
    footer: Image.Image | None = None


def _panel_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the pictures of a strip, in the aspect ratio of a photo of this size."""
    scale = min(max(width, PANEL_WIDTH[0]), PANEL_WIDTH[1]) / width
    scale = min(scale, PANEL_HEIGHT / height)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _side_by_side(panels: list[_Panel], width: int) -> Image.Image:
    """The panels in columns of one width, which narrow pictures do not fill."""
    title_font, caption_font = _font(18), _font(14)
    title_height, line_height = 28, 20
    height = panels[0].picture.height
    footer_height = max(
        panel.footer.height if panel.footer is not None else len(panel.caption) * line_height for panel in panels
    )
    top = GAP + title_height
    total = (GAP + len(panels) * (width + GAP), top + height + 8 + footer_height + GAP)
    canvas = Image.new("RGB", total, BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for index, panel in enumerate(panels):
        left = GAP + index * (width + GAP)
        draw.text((left, GAP), panel.title, fill=INK, font=title_font)
        canvas.paste(panel.picture, (left, top))
        below = top + height + 8
        if panel.footer is not None:
            canvas.paste(panel.footer, (left, below))
        for row, text in enumerate(panel.caption):
            draw.text((left, below + row * line_height), text, fill=FAINT_INK, font=caption_font)
    return canvas


def _overlay(photo: Image.Image, labels: np.ndarray, palette: Palette, alpha: float) -> Image.Image:
    pixels = np.asarray(photo).astype(np.float32)
    classes = np.asarray(colorize(torch.from_numpy(labels.copy()), palette)).astype(np.float32)
    weight = np.where(labels < palette.num_classes, alpha, 0.0)[..., None].astype(np.float32)
    blended = pixels + weight * (classes - pixels)
    border = np.zeros(labels.shape, bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:, :] |= labels[1:, :] != labels[:-1, :]
    blended[border] = 0.45 * blended[border] + 0.55 * 255
    return Image.fromarray(blended.round().astype(np.uint8))


def _legend(result: Result, width: int) -> Image.Image:
    """A swatch and a name for each class in the labels, in palette order, wrapped to the panel's width."""
    font, row_height, swatch, space = _font(14), 22, 14, 14
    present = [k for k in torch.unique(result.labels).tolist() if k < result.palette.num_classes]
    places: list[tuple[int, int, int]] = []
    x = y = 0
    for k in present:
        entry = swatch + 6 + math.ceil(font.getlength(result.palette.class_names[k]))
        if x and x + entry > width:
            x, y = 0, y + row_height
        places.append((k, x, y))
        x += entry + space
    image = Image.new("RGB", (width, y + row_height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for k, x, y in places:
        color = result.palette.colors[k]
        draw.rectangle((x, y + 2, x + swatch - 1, y + 1 + swatch), fill=color, outline=FAINT_INK)
        draw.text((x + swatch + 6, y + 9), result.palette.class_names[k], fill=INK, font=font, anchor="lm")
    return image


def _scale_bar(brightest: str, width: int) -> Image.Image:
    """The colours of `margin_map` from 0 (unsure) to the brightest one, and what that stands for."""
    font, bar_height = _font(14), 12
    image = Image.new("RGB", (width, bar_height + 26), BACKGROUND)
    ramp = _ramp(np.linspace(0.0, 1.0, width)[None].repeat(bar_height, axis=0))
    image.paste(Image.fromarray(ramp), (0, 2))
    draw = ImageDraw.Draw(image)
    draw.text((0, bar_height + 6), "0  unsure", fill=FAINT_INK, font=font)
    draw.text((width, bar_height + 6), f"sure  {brightest}", fill=FAINT_INK, font=font, anchor="ra")
    return image


def _ramp(values: np.ndarray) -> np.ndarray:
    """Values 0..1 as uint8 RGB along MARGIN_RAMP, linearly between its colours."""
    stops = np.linspace(0.0, 1.0, len(MARGIN_RAMP))
    channels = [np.interp(values, stops, [color[c] for color in MARGIN_RAMP]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()
