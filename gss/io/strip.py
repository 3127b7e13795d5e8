"""The pictures of a prediction side by side, with titles and captions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw

from gss.io.pictures import (
    BACKGROUND,
    FAINT_INK,
    GAP,
    INK,
    blend_classes,
    font_of_size,
    margin_map,
    ramp,
    to_array,
    to_pillow,
    token_mosaic,
)
from gss.palette import Palette

PANEL_WIDTH = (320, 640)  # narrower photos are enlarged to the first, wider ones reduced to the second
PANEL_HEIGHT = 960  # higher photos are reduced to it, whatever their width


def strip(
    image: torch.Tensor,
    labels: torch.Tensor,
    margin: torch.Tensor,
    palette: Palette,
    *,
    tokens: torch.Tensor | None = None,
    maskige: torch.Tensor | None = None,
    certainty: torch.Tensor | None = None,
) -> Image.Image:
    """The pictures of a prediction side by side, each with a title and a caption.

    The panels are photo, tokens, maskige, overlay with a legend of its classes, margin, and certainty as exp(-H), 1
    over the number of equally likely classes. They have the photo's aspect ratio and fit into 640 x 960 pixels.

    Args:
        image: uint8 (3, H, W).
        labels: uint8 (H, W).
        margin: float (H, W).
        palette: gives colours and class names.
        tokens: (ht, wt), or None to leave the panel out; so for the next two.
        maskige: uint8 (3, h, w).
        certainty: float (H, W), minus the entropy in nats.
    """
    height, width = image.shape[1:]
    size = _panel_size(width, height)
    column_width = max(size[0], PANEL_WIDTH[0])
    photo = to_pillow(image).resize(size, Image.Resampling.LANCZOS)
    classes = np.asarray(Image.fromarray(to_array(labels)).resize(size, Image.Resampling.NEAREST))
    lead, maximum = margin_map(margin)

    panels = [_Panel("photo", photo, [f"{width} x {height} pixels"])]
    if tokens is not None:
        rows, columns = tokens.shape
        distinct = int(tokens.unique().numel())
        mosaic = token_mosaic(tokens).resize(size, Image.Resampling.NEAREST)
        panels.append(_Panel("tokens", mosaic, [f"{columns} x {rows} tokens", f"{distinct} different codes"]))
    if maskige is not None:
        painted = to_pillow(maskige).resize(size, Image.Resampling.NEAREST)
        panels.append(_Panel("maskige", painted, ["the decoded tokens"]))
    panels.append(
        _Panel("overlay", blend_classes(photo, classes, palette, 0.55), [], _legend(labels, palette, column_width))
    )
    bar = _scale_bar(f"{maximum:.3g} or more", column_width)
    panels.append(_Panel("margin", lead.resize(size, Image.Resampling.BILINEAR), [], bar))
    if certainty is not None:
        sure, _ = margin_map(certainty.exp(), 1.0)
        bar = _scale_bar("one class", column_width)
        panels.append(_Panel("certainty", sure.resize(size, Image.Resampling.BILINEAR), [], bar))
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
    title_font, caption_font = font_of_size(18), font_of_size(14)
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


def _legend(labels: torch.Tensor, palette: Palette, width: int) -> Image.Image:
    """A swatch and a name for each class in the labels, in palette order, wrapped to the panel's width."""
    font, row_height, swatch, space = font_of_size(14), 22, 14, 14
    present = [k for k in torch.unique(labels).tolist() if k < palette.num_classes]
    places: list[tuple[int, int, int]] = []
    x = y = 0
    for k in present:
        entry = swatch + 6 + math.ceil(font.getlength(palette.class_names[k]))
        if x and x + entry > width:
            x, y = 0, y + row_height
        places.append((k, x, y))
        x += entry + space
    image = Image.new("RGB", (width, y + row_height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for k, x, y in places:
        color = palette.colors[k]
        draw.rectangle((x, y + 2, x + swatch - 1, y + 1 + swatch), fill=color, outline=FAINT_INK)
        draw.text((x + swatch + 6, y + 9), palette.class_names[k], fill=INK, font=font, anchor="lm")
    return image


def _scale_bar(brightest: str, width: int) -> Image.Image:
    """The colours of `margin_map` from 0 (unsure) to the brightest one, and the value of the brightest."""
    font, bar_height = font_of_size(14), 12
    image = Image.new("RGB", (width, bar_height + 26), BACKGROUND)
    colours = ramp(np.linspace(0.0, 1.0, width)[None].repeat(bar_height, axis=0))
    image.paste(Image.fromarray(colours), (0, 2))
    draw = ImageDraw.Draw(image)
    draw.text((0, bar_height + 6), "0  unsure", fill=FAINT_INK, font=font)
    draw.text((width, bar_height + 6), f"sure  {brightest}", fill=FAINT_INK, font=font, anchor="ra")
    return image
