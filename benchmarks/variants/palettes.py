"""The colours a variant starts with."""

from __future__ import annotations

import random

from gss.data.adjacency import touching_classes
from gss.palette import Palette
from gss.palettes.assign import pair_weights
from gss.palettes.fit import fit_palette
from gss.training.data import TrainingData

# Levels of 255 that colours around grey lie from it, one standard deviation: a tenth of the cube's side.
CROWD = 25.5


def study_palette(kind: str, data: TrainingData, seed: int) -> Palette:
    """The data's colours ("own"), "random" ones, ones crowded around "grey", "fitted" ones, or these assigned by which
    classes touch in the train split, "distance" or "blend"."""
    palette = data.palette
    if kind == "own":
        return palette
    if kind in ("random", "grey"):
        return drawn_palette(kind, palette, seed)
    if kind == "fitted":
        return fit_palette(palette.class_names, seed=seed)
    weights = pair_weights(touching_classes(data.pairs, palette.num_classes).numpy())
    return fit_palette(palette.class_names, seed=seed, weights=weights, goal=kind)


def drawn_palette(kind: str, palette: Palette, seed: int) -> Palette:
    """Levels drawn uniformly ("random"), or from a normal distribution around the middle of the cube ("grey")."""
    draw = random.Random(seed)

    def level() -> int:
        return draw.randrange(256) if kind == "random" else min(255, max(0, round(draw.gauss(127.5, CROWD))))

    colors = tuple((level(), level(), level()) for _ in palette.colors)
    return Palette(f"{palette.name}-{kind}", palette.class_names, colors, palette.ignore_color)
