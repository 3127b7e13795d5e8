"""The plan of a street: its cross-section and two rows of buildings, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gss.scenes.light import rgb

FAR = 120.0  # metres; where the street ends

_WALLS = (
    (0.62, 0.33, 0.26), (0.70, 0.45, 0.33), (0.78, 0.70, 0.58), (0.84, 0.80, 0.72), (0.66, 0.60, 0.52),
    (0.58, 0.50, 0.46), (0.86, 0.76, 0.55), (0.60, 0.62, 0.65), (0.74, 0.58, 0.50), (0.50, 0.36, 0.32),
)  # fmt: skip


@dataclass(frozen=True)
class Building:
    """One house: `side` -1 left or 1 right, along z from `start` to `end`, `height` to the eaves, `roof` above it."""

    side: int
    start: float
    end: float
    height: float
    roof: float
    wall: np.ndarray
    trim: np.ndarray
    roof_color: np.ndarray
    pitch: tuple[float, float]
    opening: tuple[float, float]
    shop: np.ndarray | None
    seed: float


@dataclass(frozen=True)
class Street:
    """Cross-section in metres from the camera: road from `left` to `right`, facades at `left_wall` and `right_wall`."""

    left: float
    right: float
    left_wall: float
    right_wall: float
    crossing: float | None
    yellow_edge: bool
    buildings: tuple[Building, ...]
    backdrop_seed: float

    def wall(self, side: int) -> float:
        return self.left_wall if side < 0 else self.right_wall


def random_street(rng: np.random.Generator) -> Street:
    """A street with pavements; the camera drives in the right half of the road."""
    width = rng.uniform(7.0, 10.5)
    left = -width * rng.uniform(0.55, 0.72)
    right = left + width
    return Street(
        left=left,
        right=right,
        left_wall=left - rng.uniform(2.6, 5.0),
        right_wall=right + rng.uniform(2.6, 5.0),
        crossing=rng.uniform(9, 30) if rng.random() < 0.35 else None,
        yellow_edge=bool(rng.random() < 0.3),
        buildings=tuple(b for side in (-1, 1) for b in _random_row(rng, side)),
        backdrop_seed=rng.uniform(0, 500),
    )


def _random_row(rng: np.random.Generator, side: int) -> list[Building]:
    row: list[Building] = []
    z = rng.uniform(-6, 2)
    base = rng.uniform(5, 15)
    while z < FAR:
        length = rng.uniform(7, 18)
        if rng.random() < 0.14:
            z += rng.uniform(4, 11)  # a side street
            continue
        wall = np.array(_WALLS[rng.integers(len(_WALLS))], np.float32) * rng.uniform(0.85, 1.1)
        height = float(np.clip(base * rng.uniform(0.7, 1.35), 4.5, 24))
        row.append(
            Building(
                side=side,
                start=z,
                end=z + length,
                height=height,
                roof=rng.uniform(1.6, 3.4) if height < 10 and rng.random() < 0.7 else 0.0,
                wall=wall,
                trim=wall * 0.4 + rgb(0.55, 0.54, 0.52) if rng.random() < 0.7 else wall * 0.7,
                roof_color=rgb(0.42, 0.22, 0.17) if rng.random() < 0.5 else rgb(0.26, 0.27, 0.30),
                pitch=(rng.uniform(2.0, 3.4), rng.uniform(2.7, 3.4)),
                opening=(rng.uniform(0.2, 0.36), rng.uniform(0.24, 0.34)),
                shop=rng.uniform(0.15, 0.75, 3).astype(np.float32) if rng.random() < 0.45 else None,
                seed=float(rng.integers(256)),
            )
        )
        z += length
    return row
