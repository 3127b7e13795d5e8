"""Procedural label maps of many classes, without images: what a tokenizer has to tell apart on ADE20K or MSeg.

    python -m benchmarks.many_classes --classes 150 --out DIR [--train 160 --val 24 --size 192x256 --palette FILE]

A map is a Voronoi ground with rectangles, ellipses and bars of one to three pixels stacked on it. Classes follow a
power law, as in the data sets: few cover most pixels, and most are small and rare. The palette is one fitted for so
many classes unless --palette names another.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from gss.cli.arguments import not_negative, positive, size
from gss.io.labels import write_label
from gss.palette import Palette, get_palette
from gss.palettes.files import write_palette
from gss.palettes.fit import fit_palette

SPLITS = ("train", "val")
# Share of the class of rank r is proportional to (r + 1)^-POWER.
POWER = 0.7
IGNORE = 255


def label_map(classes: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One map, uint8 (H, W), of 20 to 40 regions; about every other map has an ignored region."""
    share = (np.arange(classes) + 1.0) ** -POWER
    share /= share.sum()
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    sites = rng.uniform((0, 0), shape, (rng.integers(5, 12), 2))
    stretch = rng.uniform(0.6, 1.6, len(sites))
    distances = (y[..., None] - sites[:, 0]) ** 2 * stretch + (x[..., None] - sites[:, 1]) ** 2 / stretch
    labels = rng.choice(classes, len(sites), p=share)[distances.argmin(-1)]

    for _ in range(rng.integers(15, 28)):
        centre = rng.uniform((0, 0), shape)
        half = np.exp(rng.uniform(np.log(2), np.log(min(shape) / 4), 2))
        kind, angle = rng.integers(3), rng.uniform(0, np.pi)
        if kind == 2:  # a bar
            half = np.array([rng.uniform(0.5, 1.5), half.max() * 2])
        along = (y - centre[0]) * np.cos(angle) + (x - centre[1]) * np.sin(angle)
        across = (x - centre[1]) * np.cos(angle) - (y - centre[0]) * np.sin(angle)
        inside = np.abs(along) / half[0], np.abs(across) / half[1]
        shape_mask = np.hypot(*inside) < 1 if kind == 0 else np.maximum(*inside) < 1
        labels[shape_mask] = rng.choice(classes, p=share)
    if rng.uniform() < 0.5:
        labels[np.hypot(y - rng.uniform(0, height), x - rng.uniform(0, width)) < min(shape) / 12] = IGNORE
    return labels.astype(np.uint8)


def write_label_maps(root: Path, palette: Palette, train: int, val: int, shape: tuple[int, int], seed: int = 0) -> None:
    """annotations/{train,val}/NNNNN.png and palette.json; map i of a split depends on (seed, split, i) only."""
    for split_id, (split, count) in enumerate(zip(SPLITS, (train, val), strict=True)):
        folder = root / "annotations" / split
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            labels = label_map(palette.num_classes, shape, np.random.default_rng((seed, split_id, index)))
            write_label(folder / f"{index:05d}.png", torch.from_numpy(labels), palette)
    write_palette(root / "palette.json", palette)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=positive, required=True, metavar="K", help="2 to 255")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--train", type=positive, default=160, metavar="N")
    parser.add_argument("--val", type=positive, default=24, metavar="N")
    parser.add_argument("--size", type=size, default=(192, 256), metavar="HxW")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="N")
    parser.add_argument("--palette", metavar="NAME|FILE", help="of K classes (default: fitted)")
    arguments = parser.parse_args()
    palette = get_palette(arguments.palette) if arguments.palette else fit_palette(arguments.classes)
    if palette.num_classes != arguments.classes:
        raise SystemExit(f"--palette: expected {arguments.classes} classes, got {palette.num_classes}")
    write_label_maps(arguments.out, palette, arguments.train, arguments.val, arguments.size, arguments.seed)
    print(f"{arguments.out}: {arguments.train} + {arguments.val} maps of {arguments.classes} classes")


if __name__ == "__main__":
    main()
