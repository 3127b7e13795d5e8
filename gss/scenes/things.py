"""Trees, cars, lamps and people, and their random places on the street."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gss.scenes.light import rgb
from gss.scenes.street import Street

_PAINTS = (
    (0.72, 0.10, 0.10), (0.12, 0.22, 0.52), (0.86, 0.86, 0.87), (0.14, 0.14, 0.16), (0.55, 0.57, 0.60),
    (0.10, 0.34, 0.24), (0.78, 0.66, 0.20), (0.30, 0.44, 0.58), (0.45, 0.12, 0.20),
)  # fmt: skip
_CLOTHES = (
    (0.75, 0.15, 0.15), (0.15, 0.25, 0.55), (0.85, 0.80, 0.70), (0.15, 0.15, 0.18), (0.30, 0.45, 0.30),
    (0.85, 0.60, 0.15), (0.55, 0.30, 0.55), (0.20, 0.55, 0.60),
)  # fmt: skip
_SKINS = ((0.90, 0.72, 0.60), (0.76, 0.56, 0.42), (0.52, 0.36, 0.26), (0.36, 0.25, 0.19))


@dataclass(frozen=True)
class Thing:
    """Anything with a place: `x`, `z` of its nearest foot point, `height`, and `footprint` half sizes, in metres."""

    x: float
    z: float
    height: float
    footprint: tuple[float, float]


@dataclass(frozen=True)
class Tree(Thing):
    radius: float
    leaf: np.ndarray
    blobs: np.ndarray
    seed: float


@dataclass(frozen=True)
class Car(Thing):
    paint: np.ndarray
    length: float
    oncoming: bool


@dataclass(frozen=True)
class Lamp(Thing):
    arm: float
    tint: np.ndarray


@dataclass(frozen=True)
class Person(Thing):
    shirt: np.ndarray
    trousers: np.ndarray
    skin: np.ndarray
    hair: np.ndarray
    stride: float


def random_things(rng: np.random.Generator, street: Street) -> list[Thing]:
    """Trees and lamps in a row along each kerb, parked and moving cars, people on the pavements and the crossing."""
    things: list[Thing] = []
    for side, kerb in ((-1, street.left), (1, street.right)):
        _plant(rng, things, side, kerb)
        _park(rng, things, side, kerb)
        _walk(rng, things, kerb, street.wall(side))
    middle = (street.left + street.right) / 2
    lane = (street.right - street.left) / 4
    if rng.random() < 0.6:
        things.append(_car(rng, middle + lane, rng.uniform(9, 32), oncoming=False))
    if rng.random() < 0.7:
        things.append(_car(rng, middle - lane, rng.uniform(7, 40), oncoming=True))
    if street.crossing is not None:
        for _ in range(rng.integers(1, 4)):
            things.append(_person(rng, rng.uniform(street.left, street.right), street.crossing + rng.uniform(-1, 1)))
    return things


def _plant(rng: np.random.Generator, things: list[Thing], side: int, kerb: float) -> None:
    """Trees and lamps at random spacing, so that they seldom hide each other."""
    x = kerb + side * 0.8
    leafy = rng.random() < 0.75
    autumn = rng.random() < 0.2
    z = rng.uniform(5, 12)
    while z < 75:
        if z > 40 or (leafy and rng.random() < 0.55):  # farther lamps would be thinner than a pixel
            things.append(_tree(rng, x + side * rng.uniform(0, 0.5), z, autumn))
        else:
            height = rng.uniform(4.5, 7.5)
            tint = rgb(0.30, 0.33, 0.33) if rng.random() < 0.6 else rgb(0.55, 0.57, 0.58)
            things.append(Lamp(x - side * 0.3, z, height, (0.15, 0.1), arm=-side * rng.uniform(0.9, 1.8), tint=tint))
        z += rng.uniform(5, 12)


def _tree(rng: np.random.Generator, x: float, z: float, autumn: bool) -> Tree:
    height, radius = rng.uniform(5, 9), rng.uniform(1.3, 2.3)
    leaf = rgb(0.30, 0.46, 0.16) * rng.uniform(0.75, 1.15, 3).astype(np.float32)
    if autumn and rng.random() < 0.7:
        leaf = rgb(0.72, 0.46, 0.14) * rng.uniform(0.8, 1.1, 3).astype(np.float32)
    angles, reach = rng.uniform(0, 2 * np.pi, 5), rng.uniform(0.25, 0.6, 5)
    blobs = np.stack((np.cos(angles) * reach, np.sin(angles) * reach, rng.uniform(0.45, 0.7, 5)), axis=1)
    footprint = (radius * 0.9, radius * 0.9)
    return Tree(x, z, height, footprint, radius, leaf, blobs.astype(np.float32), rng.uniform(0, 500))


def _park(rng: np.random.Generator, things: list[Thing], side: int, kerb: float) -> None:
    if rng.random() < 0.3:
        return
    z = rng.uniform(4, 14)
    while z < 60:
        if rng.random() < 0.5:
            things.append(_car(rng, kerb - side * 1.15, z, oncoming=side < 0))
        z += rng.uniform(6, 10)


def _car(rng: np.random.Generator, x: float, z: float, oncoming: bool) -> Car:
    width, length = rng.uniform(1.7, 1.95), rng.uniform(3.7, 4.6)
    paint = np.array(_PAINTS[rng.integers(len(_PAINTS))], np.float32) * rng.uniform(0.8, 1.15)
    return Car(x, z, rng.uniform(1.4, 1.75), (width / 2, length / 2), paint, length, oncoming)


def _walk(rng: np.random.Generator, things: list[Thing], kerb: float, wall: float) -> None:
    low, high = min(kerb, wall) + 0.7, max(kerb, wall) - 0.4
    for _ in range(rng.integers(1, 6)):
        things.append(_person(rng, rng.uniform(low, high), 5 + 30 * rng.random() ** 1.3))


def _person(rng: np.random.Generator, x: float, z: float) -> Person:
    shirt, trousers = (np.array(_CLOTHES[rng.integers(len(_CLOTHES))], np.float32) for _ in range(2))
    skin = np.array(_SKINS[rng.integers(len(_SKINS))], np.float32)
    hair = rgb(0.16, 0.11, 0.08) * rng.uniform(0.5, 3.0)
    return Person(x, z, rng.uniform(1.6, 1.92), (0.25, 0.2), shirt, trousers * 0.7, skin, hair, rng.uniform(0.05, 0.28))
