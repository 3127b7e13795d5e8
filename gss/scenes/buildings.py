"""The two rows of houses: fronts, facades along the street, roofs."""

from __future__ import annotations

import numpy as np

from gss.scenes.canvas import BUILDING, NEAR, Canvas, centers, planes
from gss.scenes.light import Light, fractal, fraction, rgb, speckle
from gss.scenes.street import Building, Street


def paint_buildings(canvas: Canvas, street: Street, light: Light) -> None:
    """Paint both rows from far to near: for each house its front towards us, then its facade along the street."""
    covered = {(b.side, b.end): b.height for b in street.buildings}
    for building in sorted(street.buildings, key=lambda b: -b.start):
        wall = street.wall(building.side)
        hidden = covered.get((building.side, building.start), 0.0) >= building.height + building.roof
        if building.start > NEAR and not hidden:
            _paint_front(canvas, building, wall, light)
        if building.end > NEAR + 0.5:
            _paint_roof(canvas, building, wall, light)
            _paint_facade(canvas, building, wall, light)


def _paint_front(canvas: Canvas, building: Building, wall: float, light: Light) -> None:
    camera, side, z = canvas.camera, building.side, building.start
    depth = 9.0
    if building.roof:
        ridge = wall + side * depth / 2
        gable = [(wall, building.height, z), (ridge, building.height + building.roof, z),
                 (wall + side * depth, building.height, z)]  # fmt: skip
        canvas.solid(gable, light.tone(building.wall * 0.95, (0, 0, -1), z), BUILDING)
    inner, top = camera.project((wall, building.height, z))
    outer, bottom = camera.project((wall + side * depth, 0.0, z))
    window = canvas.window(min(inner, outer), top, max(inner, outer), bottom)
    if window is None:
        return
    row, column = centers(window)
    along = np.abs((column - camera.center) * z / camera.focal - wall)
    height = camera.height - (row - camera.horizon) * z / camera.focal
    color = _masonry(building, along, height, np.full_like(along, z), (0.0, 0.0, -1.0), light)
    canvas.put(window, np.ones(color.shape[1:], bool), color, BUILDING)


def _paint_roof(canvas: Canvas, building: Building, wall: float, light: Light) -> None:
    if not building.roof:
        return
    ridge_x, ridge_y = wall + building.side * 4.5, building.height + building.roof
    start, end = max(building.start, NEAR), building.end
    slope = [(wall, building.height, start), (wall, building.height, end),
             (ridge_x, ridge_y, end), (ridge_x, ridge_y, start)]  # fmt: skip
    middle = min((start + end) / 2, start + 8)
    canvas.solid(slope, light.tone(building.roof_color, (-building.side * 0.55, 0.83, 0.0), middle), BUILDING)


def _paint_facade(canvas: Canvas, building: Building, wall: float, light: Light) -> None:
    camera = canvas.camera
    start, end = max(building.start, NEAR), building.end
    near, top = camera.project((wall, building.height, start))
    bottom = camera.project((wall, 0.0, start))[1]
    far = camera.project((wall, 0.0, end))[0]
    window = canvas.window(min(near, far), top, max(near, far), bottom)
    if window is None:
        return
    row, column = centers(window)
    z = np.clip(camera.focal * wall / (column - camera.center), start, end)
    height = camera.height - (row - camera.horizon) * z / camera.focal
    color = _masonry(building, z - building.start, height, z, (-building.side, 0.0, 0.0), light)
    canvas.put(window, (height >= 0) & (height <= building.height), color, BUILDING)


def _masonry(
    building: Building,
    along: np.ndarray,
    height: np.ndarray,
    z: np.ndarray,
    normal: tuple[float, float, float],
    light: Light,
) -> np.ndarray:
    """A wall with rows of windows, a shop floor and a cornice: float32 (3, h, w).

    `along` (1, w) and `height` (h, 1) or (h, w) are wall coordinates, `z` (1, w) the distance, in metres.
    """
    pitch_u, pitch_v = building.pitch
    floor = (height - 0.6) / pitch_v
    bay = along / pitch_u
    du, dv = np.abs(fraction(bay) - 0.5), np.abs(fraction(floor) - 0.5)
    open_u, open_v = building.opening
    above_ground = (height > 1.0) & (height < building.height - 0.7)
    glass = (du < open_u) & (dv < open_v) & above_ground
    frame = (du < open_u + 0.05) & (dv < open_v + 0.06) & above_ground & ~glass
    brick = (fractal(along * 22 + building.seed, height * 22) - 0.5) * 0.22
    stain = (fractal(along * 5 + building.seed, height * 1.5) - 0.5) * 0.18
    color = planes(building.wall) * (1 + brick + stain)
    np.copyto(color, planes(building.trim), where=frame)
    ledge = (height > building.height - 0.45) | (np.abs(height - 3.6) < 0.13)
    np.copyto(color, planes(building.trim), where=ledge)
    if building.shop is not None:
        np.copyto(color, planes(building.shop), where=(height > 2.75) & (height <= 3.5))
    color = light.shade(color, normal)
    if building.shop is not None:
        display = (height > 0.5) & (height < 2.7) & (du < 0.44)
        glass = (glass & (height > 3.6)) | display
    # Panes reflect the sky with random brightness; at dusk some have a lamp behind them.
    chance = speckle(bay + building.seed, floor + building.seed)
    reflection = light.horizon * 0.45 + light.zenith * 0.2
    np.copyto(color, planes(reflection) * (0.35 + 0.6 * chance), where=glass)
    if light.lit_windows:
        lamp = glass & (chance < light.lit_windows)
        np.copyto(color, planes(rgb(0.98, 0.80, 0.45)) * (0.9 + 0.2 * (dv < 0.2)), where=lamp)
    # Less light of the sky reaches the foot of the walls.
    color *= 0.78 + 0.22 * np.clip(height / 4, 0, 1)
    return light.through_air(color, z)
