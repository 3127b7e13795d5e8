"""The sky with its clouds, and the skyline at the end of the street."""

from __future__ import annotations

import numpy as np

from gss.scenes.canvas import BUILDING, SKY, TREE, Canvas, centers, planes
from gss.scenes.light import Light, fractal, rgb, smooth_fractal, speckle
from gss.scenes.street import FAR


def paint_sky(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """A gradient, the glow of the sun, and clouds on a plane overhead."""
    camera = canvas.camera
    rows = min(int(camera.horizon) + 2, camera.rows)
    window = (slice(0, rows), slice(0, camera.columns))
    row, column = centers(window)
    up = np.clip((camera.horizon - row) / camera.focal, 0.0, None)
    across = (column - camera.center) / camera.focal
    blend = np.clip(up * 1.7, 0, 1) ** np.float32(0.7)
    sky = planes(light.horizon) + planes(light.zenith - light.horizon) * blend
    sky = np.repeat(sky, camera.columns, axis=2)
    if light.sun[2] > 0:
        distance = (across - light.sun[0] / light.sun[2]) ** 2 + (up - light.sun[1] / light.sun[2]) ** 2
        sky += planes(light.sun_color) * (0.35 * np.exp(-distance * 6))
    scale = 26.0 / (up + 0.12)
    drift_u, drift_v = rng.uniform(0, 512, 2)
    density = smooth_fractal(across * scale + drift_u, scale * 1.6 + drift_v)
    cover = np.clip((density - (0.75 - 0.5 * light.cloud_cover)) * 4.0, 0, 1) * np.clip(up * 9, 0, 1)
    bright = light.ambient * 0.75 + light.sun_color * 0.45
    shaded = planes(bright) * (1.08 - 0.45 * density)
    sky += (shaded - sky) * (0.85 * cover)
    canvas.color[:, window[0], window[1]] = sky
    canvas.label[window] = SKY


def paint_skyline(canvas: Canvas, light: Light, seed: float) -> None:
    """The horizon at the end of the street: blocks of far buildings behind a belt of trees."""
    camera = canvas.camera
    reach = FAR * 1.15
    top = camera.horizon - camera.focal * 34 / reach
    bottom = camera.horizon + camera.focal * camera.height / FAR + 1
    window = canvas.window(0, top, camera.columns, bottom)
    if window is None:
        return
    row, column = centers(window)
    x = (column - camera.center) * reach / camera.focal
    height = camera.height - (row - camera.horizon) * reach / camera.focal
    block = np.floor(x / 11 + seed)
    tall = 6 + 24 * speckle(block, np.zeros_like(block)) ** 2
    wall = 0.42 + 0.3 * speckle(block, np.ones_like(block))
    tint = light.through_air(light.shade(planes(rgb(0.95, 0.92, 0.9)), (0, 0, -1)) * wall, reach)
    panes = (np.floor(height / 3) % 2 == 0) * 0.06
    canvas.put(window, height <= tall, tint - panes.astype(np.float32), BUILDING)
    crown = 1.5 + 9 * smooth_fractal(x * 2.2 + seed, np.full_like(x, seed))
    leaves = light.shade(planes(rgb(0.26, 0.38, 0.18)), (0, 0.7, -0.7)) * (0.75 + 0.5 * fractal(x * 9, height * 9))
    canvas.put(window, height <= crown, light.through_air(leaves, reach * 0.8), TREE)
