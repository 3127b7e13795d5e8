"""Procedural street scenes: photos with exact labels, rendered in numpy, to try training without a data set.

A scene is a street in one-point perspective with buildings, cars, trees, lamps and people in the light of a random time
of day. The labels come from the same geometry as the pixels, so they are exact.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gss.io.images import save_image
from gss.io.labels import write_label
from gss.io.progress import Progress
from gss.palette import Palette
from gss.palettes.files import write_palette
from gss.scenes.buildings import paint_buildings
from gss.scenes.canvas import Camera, Canvas, planes
from gss.scenes.figures import paint_things
from gss.scenes.ground import paint_ground
from gss.scenes.light import random_light, value_noise
from gss.scenes.sky import paint_sky, paint_skyline
from gss.scenes.street import random_street
from gss.scenes.things import random_things

SPLITS = ("train", "val")


def render_scene(seed: int | tuple[int, ...], size: tuple[int, int] = (128, 192)) -> tuple[np.ndarray, np.ndarray]:
    """One scene of `size` (height, width): image uint8 (H, W, 3) RGB and labels uint8 (H, W) in 0..7.

    The same seed gives the same scene. The classes are those of Palette.named("scenes"). Raises ValueError for sizes
    below 32 pixels.

    Example:
        >>> image, label = render_scene(seed=0, size=(48, 64))
        >>> image.shape, label.shape
        ((48, 64, 3), (48, 64))
    """
    if len(size) != 2 or min(size) < 32:
        raise ValueError(f"size: expected (height, width) of at least 32, got {size}")
    rng = np.random.default_rng(seed)
    camera = Camera.random(rng, size)
    light = random_light(rng)
    street = random_street(rng)
    things = random_things(rng, street)
    canvas = Canvas(camera)
    paint_sky(canvas, light, rng)
    paint_skyline(canvas, light, street.backdrop_seed)
    paint_ground(canvas, street, light, things)
    paint_buildings(canvas, street, light)
    paint_things(canvas, things, light)
    return _develop(canvas.color, rng), _majority(canvas.label)


def generate_scenes(
    root: str | os.PathLike[str],
    train: int = 200,
    val: int = 40,
    size: tuple[int, int] = (128, 192),
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Write a folder data set of procedural scenes with palette.json; `progress(done, total)` is called after each.

    Scene i of a split depends on (seed, split, i) only, so a larger set contains the smaller one. Existing files of the
    same names are replaced. Raises ValueError for a negative count or seed and for sizes below 32 pixels.
    """
    if train < 0 or val < 0:
        raise ValueError(f"train, val: expected counts >= 0, got {train} and {val}")
    if seed < 0:
        raise ValueError(f"seed: expected an integer >= 0, got {seed}")
    folder = Path(root)
    palette = Palette.named("scenes")
    total, done = train + val, 0
    for split_id, (split, count) in enumerate(zip(SPLITS, (train, val), strict=True)):
        for kind in ("images", "annotations"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, label = render_scene((seed, split_id, index), size)
            save_image(folder / "images" / split / f"{index:05d}.png", Image.fromarray(image))
            write_label(folder / "annotations" / split / f"{index:05d}.png", torch.from_numpy(label), palette)
            done += 1
            if progress is not None:
                progress(done, total)
    write_palette(folder / "palette.json", palette)


def _develop(color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture of a camera (H, W, 3) from colours (3, 2H, 2W): softness, vignette, exposure, sensor noise."""
    image = color[:, ::2, ::2] + color[:, ::2, 1::2] + color[:, 1::2, ::2] + color[:, 1::2, 1::2]
    image *= np.float32(0.25)
    _, height, width = image.shape
    softness = np.float32(rng.uniform(0.05, 0.35))
    image[:, 1:-1] += softness * (0.25 * (image[:, :-2] + image[:, 2:]) - 0.5 * image[:, 1:-1])
    image[:, :, 1:-1] += softness * (0.25 * (image[:, :, :-2] + image[:, :, 2:]) - 0.5 * image[:, :, 1:-1])
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    exposure = rng.uniform(1.25, 1.65) * rng.uniform(0.97, 1.03, 3).astype(np.float32)
    image *= planes(exposure) * (1 - np.float32(rng.uniform(0.0, 0.1)) * (rows**2 + columns**2))
    image /= 1 + np.float32(0.25) * image  # a soft shoulder instead of hard clipping
    # Grain of a few pixels, as demosaicing and compression make it, and white noise.
    grain = value_noise(rows * (height / 9) + np.float32(rng.uniform(0, 50)), columns * (width / 9))
    image += 0.015 * (grain - 0.5)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.005, 0.02))
    levels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def _majority(label: np.ndarray) -> np.ndarray:
    """The most frequent class of each pixel's 2x2 samples; the earlier sample on ties."""
    a, b, c, d = label[::2, ::2], label[::2, 1::2], label[1::2, ::2], label[1::2, 1::2]
    first_alone = (a != b) & (a != c) & (a != d)
    second_pairs = first_alone & ((b == c) | (b == d))
    third_pairs = first_alone & ~second_pairs & (c == d)
    return np.where(second_pairs, b, np.where(third_pairs, c, a))
