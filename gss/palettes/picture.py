"""A palette as a picture: swatches with names and margins, the colours in the RGB cube, the closest pairs."""

from __future__ import annotations

import itertools
import math

from PIL import Image, ImageDraw, ImageFont

from gss.palette import Color, Palette

ROW, COLUMN, GAP = 22, 240, 16  # pixels: height of a class, width of a column of classes, space around
CUBE = 460  # the side of the square in which the cube is drawn
MIN_ROWS = 30
PAIRS = 8
PAPER, INK, FAINT_INK, EDGE = (255, 255, 255), (32, 36, 44), (110, 116, 128), (200, 204, 210)
# Unit vectors of the view onto the cube from 20 degrees beside its red axis and 30 degrees above: blue points up, green
# to the right, red forward. From there the points of a regular grid do not hide each other.
_TURN, _TILT = math.radians(20), math.radians(30)
_ACROSS = (-math.sin(_TURN), math.cos(_TURN), 0.0)
_UP = (-math.sin(_TILT) * math.cos(_TURN), -math.sin(_TILT) * math.sin(_TURN), math.cos(_TILT))
_TOWARDS = (math.cos(_TILT) * math.cos(_TURN), math.cos(_TILT) * math.sin(_TURN), math.sin(_TILT))


def palette_picture(palette: Palette) -> Image.Image:
    """The palette as an RGB picture.

    The left side lists every class: colour, number, name, margin in levels, and a bar as long as the margin. The right
    side shows the colours in the RGB cube, nearer ones larger, with lines between the closest pairs and a list of them.

    Example:
        >>> palette_picture(Palette.named("camvid")).mode
        'RGB'
    """
    rows = max(MIN_ROWS, math.ceil(math.sqrt(palette.num_classes * 8)))
    columns = math.ceil(palette.num_classes / rows)
    left = GAP + columns * COLUMN
    pairs = palette.closest_pairs(PAIRS)
    height = 2 * GAP + ROW + max(min(rows, palette.num_classes) * ROW, CUBE + (len(pairs) + 1) * ROW)
    image = Image.new("RGB", (left + CUBE + GAP, height), PAPER)
    draw = ImageDraw.Draw(image)
    _text(draw, (GAP, GAP), f"{palette.name}: {palette.num_classes} classes; margins in levels", FAINT_INK)
    longest = max((margin for margin in palette.margins() if math.isfinite(margin)), default=1.0)
    for k, margin in enumerate(palette.margins()):
        corner = (GAP + k // rows * COLUMN, GAP + ROW + k % rows * ROW)
        _class_row(draw, corner, k, palette, margin, longest)
    _cube(draw, (left, GAP + ROW), palette, [pair for _, pair in pairs])
    _pair_list(draw, (left, GAP + ROW + CUBE), palette, pairs)
    return image


def _class_row(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], k: int, palette: Palette, margin: float, longest: float
) -> None:
    x, y = corner
    _swatch(draw, (x, y), palette.colors[k])
    _text(draw, (x + 36, y + 2), f"{k}  {_shortened(palette.class_names[k], 15)}", INK)
    if math.isfinite(margin):
        _text(draw, (x + 152, y + 2), f"{margin:.1f}", INK)
        draw.rectangle((x + 190, y + 7, x + 190 + round(36 * margin / longest), y + 12), fill=FAINT_INK)


def _cube(draw: ImageDraw.ImageDraw, corner: tuple[int, int], palette: Palette, pairs: list[tuple[int, int]]) -> None:
    """Draw the edges of the cube, then lines between close pairs, then the colours from the farthest to the nearest."""
    scale = (CUBE - 2 * GAP) / (255 * sum(map(abs, _UP)))

    def place(color: tuple[int, ...]) -> tuple[float, float]:
        across, up = scale * _along(_ACROSS, color), scale * _along(_UP, color)
        return corner[0] + CUBE / 2 + across, corner[1] + CUBE / 2 - up

    corners = list(itertools.product((0, 255), repeat=3))
    for start, end in itertools.combinations(corners, 2):
        if sum(a != b for a, b in zip(start, end, strict=True)) == 1:
            draw.line([place(start), place(end)], fill=EDGE, width=1)
    for i, j in pairs:
        draw.line([place(palette.colors[i]), place(palette.colors[j])], fill=INK, width=2)
    nearest = _along(_TOWARDS, (255, 255, 255))
    for color in sorted(palette.colors, key=lambda color: _along(_TOWARDS, color)):
        x, y = place(color)
        radius = 8.5 + 2.5 * _along(_TOWARDS, color) / nearest
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color, outline=INK)


def _along(axis: tuple[float, float, float], color: tuple[int, ...]) -> float:
    """The distance of a colour from the middle of the cube in the direction of `axis`, in levels."""
    return sum(a * (channel - 127.5) for a, channel in zip(axis, color, strict=True))


def _pair_list(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    palette: Palette,
    pairs: list[tuple[float, tuple[int, int]]],
) -> None:
    x, y = corner
    if pairs:
        _text(draw, (x, y), "closest pairs and their distances in levels", FAINT_INK)
    for row, (distance, (i, j)) in enumerate(pairs, 1):
        top = y + row * ROW
        _swatch(draw, (x, top), palette.colors[i])
        _swatch(draw, (x + 30, top), palette.colors[j])
        names = f"{_shortened(palette.class_names[i], 22)} and {_shortened(palette.class_names[j], 22)}"
        _text(draw, (x + 68, top + 2), f"{distance:.1f}  {names}", INK)


def _swatch(draw: ImageDraw.ImageDraw, corner: tuple[int, int], color: Color) -> None:
    x, y = corner
    draw.rectangle((x, y, x + 28, y + ROW - 4), fill=color, outline=EDGE)


def _text(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, color: Color) -> None:
    draw.text(corner, text, fill=color, font=ImageFont.load_default(size=12))


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
