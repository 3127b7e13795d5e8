"""The ground: road and pavements, their markings, and the shadows that fall on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gss.scenes.canvas import NEAR, PAVEMENT, ROAD, Camera, Canvas, centers, planes
from gss.scenes.light import Light, fractal, fraction, rgb, speckle
from gss.scenes.street import FAR, Street
from gss.scenes.things import Thing


def paint_ground(canvas: Canvas, street: Street, light: Light, things: Sequence[Thing]) -> None:
    """Road and pavements with their markings, the buildings' shadows and the objects' contact shadows."""
    camera = canvas.camera
    first = camera.horizon + camera.focal * camera.height / FAR
    window = canvas.window(0, first, camera.columns, camera.rows)
    if window is None:
        return
    row, column = centers(window)
    z = camera.focal * camera.height / (row - camera.horizon)
    x = (column - camera.center) * z / camera.focal
    sharp = np.clip(1.4 - z / 45, 0.15, 1)  # fine texture averages out with distance

    is_road = (x > street.left) & (x < street.right)
    grain = (speckle(x * 28, z * 28) - 0.5) * 0.10 * sharp + (fractal(x * 30, z * 12) - 0.5) * 0.16
    albedo = planes(rgb(0.33, 0.33, 0.345)) * (1 + grain * 1.3)
    paved = ~is_road
    slab_u, slab_v = x[paved] / 0.9, np.broadcast_to(z, x.shape)[paved] / 0.9
    joint = (fraction(slab_u) < 0.06) | (fraction(slab_v) < 0.07)
    detail = (0.08 * (speckle(slab_u, slab_v) - 0.5) - 0.16 * joint) * np.broadcast_to(sharp, x.shape)[paved]
    albedo[:, paved] = rgb(0.62, 0.58, 0.53)[:, None] * (1 + grain[paved] + detail)
    curb = np.minimum(np.abs(x - street.left + 0.13), np.abs(x - street.right - 0.13)) < 0.15
    np.copyto(albedo, planes(rgb(0.74, 0.72, 0.69)), where=curb)
    for mask, paint in _markings(street, x, z):
        worn = 0.75 + 0.25 * fractal(x[mask] * 40, np.broadcast_to(z, x.shape)[mask] * 40)
        albedo[:, mask] = paint[:, None] * worn

    shadow = _building_shadow(street, light, x, z)
    for thing in things:
        _contact_shadow(shadow, row, x, camera, light, thing)
    shaded = light.shade(albedo, (0, 1, 0), shadow)
    shaded *= 1 - 0.25 * shadow
    canvas.color[:, window[0], window[1]] = light.through_air(shaded, z)
    canvas.label[window] = np.where(is_road, ROAD, PAVEMENT)


def _markings(street: Street, x: np.ndarray, z: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    white, yellow = rgb(0.88, 0.88, 0.86), rgb(0.85, 0.68, 0.22)
    middle = (street.left + street.right) / 2
    dashes = (np.abs(x - middle) < 0.08) & (fraction(z / 6) < 0.5)
    inset = np.minimum(np.abs(x - street.left - 0.45), np.abs(x - street.right + 0.45))
    marks = [(dashes, white), (inset < 0.06, yellow if street.yellow_edge else white)]
    if street.crossing is not None:
        zebra = (np.abs(z - street.crossing) < 1.5) & (x > street.left + 0.3) & (x < street.right - 0.3)
        marks.append((zebra & (fraction(x / 1.1) < 0.5), white))
    return marks


def _building_shadow(street: Street, light: Light, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """1 where a building hides the sun: follow the ray from the ground to the plane of the facades."""
    side = -1 if light.sun[0] < 0 else 1
    away = np.abs(x - street.wall(side))
    run = away / max(abs(float(light.sun[0])), 0.05)
    row = [b for b in street.buildings if b.side == side]
    starts = np.array([b.start for b in row], np.float32)
    ends = np.array([b.end for b in row], np.float32)
    heights = np.array([b.height + b.roof for b in row], np.float32)
    at = z + run * light.sun[2]
    index = np.clip(np.searchsorted(starts, at) - 1, 0, len(row) - 1)
    blocked = (at < ends[index]) & (at > starts[0]) & (run * light.sun[1] < heights[index])
    return blocked.astype(np.float32)


def _contact_shadow(
    shadow: np.ndarray, row: np.ndarray, x: np.ndarray, camera: Camera, light: Light, thing: Thing
) -> None:
    """Darkens the ground around an object's foot, stretched away from the sun."""
    reach_x, reach_z = thing.footprint
    lean_x = float(-light.sun[0] * thing.height * 0.35)
    lean_z = float(-light.sun[2] * thing.height * 0.35)
    center_x, center_z = thing.x + lean_x * 0.5, max(thing.z + reach_z + lean_z * 0.5, NEAR)
    radius_x, radius_z = reach_x + abs(lean_x) * 0.5 + 0.1, reach_z + abs(lean_z) * 0.5 + 0.1
    far, near = center_z + radius_z, max(center_z - radius_z, NEAR)
    top = camera.horizon + camera.focal * camera.height / far
    bottom = camera.horizon + camera.focal * camera.height / near
    first, last = np.searchsorted(row[:, 0], (top, bottom)).tolist()
    if first >= last:
        return
    part = slice(first, last)
    depth = camera.focal * camera.height / (row[part] - camera.horizon)
    distance = ((x[part] - center_x) / radius_x) ** 2 + ((depth - center_z) / radius_z) ** 2
    np.maximum(shadow[part], np.clip(1.6 - 1.6 * distance, 0, 1) * 0.95, out=shadow[part])
