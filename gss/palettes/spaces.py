"""Colour spaces in which the distance of two colours can be measured: RGB itself, and OKLab for human eyes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Maps colours float64 (..., 3) in sRGB levels 0..255 to points float64 (..., 3).
Space = Callable[[np.ndarray], np.ndarray]

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


def rgb(levels: np.ndarray) -> np.ndarray:
    """Levels as they are; distances are in levels."""
    return levels


def oklab(levels: np.ndarray) -> np.ndarray:
    """sRGB levels (..., 3) as OKLab (..., 3): lightness 0..1, green to red and blue to yellow, both about -0.4..0.4.

    The transfer curve of sRGB (IEC 61966-2-1) is undone first. A difference of about 0.02 is just noticeable.

    Example:
        >>> oklab(np.array([255.0, 255.0, 255.0])).round(3).tolist()[0]
        1.0
    """
    value = levels / 255
    light = np.where(value <= 0.04045, value / 12.92, ((np.maximum(value, 0.0) + 0.055) / 1.055) ** 2.4)
    return np.cbrt(light @ _TO_CONES.T) @ _TO_LAB.T


SPACES: dict[str, Space] = {"rgb": rgb, "oklab": oklab}


def jacobian(space: Space, levels: np.ndarray, step: float = 0.5) -> np.ndarray:
    """The derivative of a space at colours (..., 3), by central differences of `step` levels: (..., 3, 3).

    Rows are coordinates of the space, columns channels.
    """
    shifts = step * np.eye(3)
    return np.stack([(space(levels + shift) - space(levels - shift)) / (2 * step) for shift in shifts], axis=-1)
