"""Colour spaces in which the distance of two colours can be measured: RGB itself, and OKLab for human eyes.

Both map colours float64 (..., 3) in sRGB levels 0..255 to points of the same shape, and give the derivative of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# B. Ottosson, "A perceptual color space for image processing" (2020): linear sRGB to cone responses, and the cube
# roots of these to lightness and two opponent colours.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_DARKEST_CONE = 1e-5  # the derivative of a cube root is infinite at black; below this it is held


@dataclass(frozen=True)
class Space:
    """A colour space: `points` maps levels (..., 3) to points (..., 3), `jacobian` to (..., 3, 3), d point / d level.

    `unit` names its distances.
    """

    unit: str
    points: Callable[[np.ndarray], np.ndarray]
    jacobian: Callable[[np.ndarray], np.ndarray]


def rgb_jacobian(levels: np.ndarray) -> np.ndarray:
    """The identity for every colour: (..., 3, 3)."""
    return np.broadcast_to(np.eye(3), (*levels.shape, 3))


def oklab(levels: np.ndarray) -> np.ndarray:
    """sRGB levels (..., 3) as OKLab (..., 3): lightness 0..1, green to red, blue to yellow, both about -0.4..0.4.

    A difference that is just noticeable is about 0.02 apart.
    """
    return np.cbrt(_linear(levels) @ _TO_CONES.T) @ _TO_LAB.T


def oklab_jacobian(levels: np.ndarray) -> np.ndarray:
    """The derivative of `oklab`, (..., 3, 3): row for a coordinate of OKLab, column for a channel."""
    value = levels / 255
    slope = np.where(value <= 0.04045, 1 / 12.92, 2.4 / 1.055 * ((np.maximum(value, 0.0) + 0.055) / 1.055) ** 1.4)
    cones = np.maximum(_linear(levels) @ _TO_CONES.T, _DARKEST_CONE)
    root = 1 / (3 * np.cbrt(cones) ** 2)
    return _TO_LAB @ (root[..., :, None] * _TO_CONES) * (slope / 255)[..., None, :]


def _linear(levels: np.ndarray) -> np.ndarray:
    """Levels to light: the transfer curve of sRGB (IEC 61966-2-1) undone."""
    value = levels / 255
    return np.where(value <= 0.04045, value / 12.92, ((np.maximum(value, 0.0) + 0.055) / 1.055) ** 2.4)


SPACES = {
    "rgb": Space("levels", lambda levels: levels, rgb_jacobian),
    "oklab": Space("OKLab units", oklab, oklab_jacobian),
}
