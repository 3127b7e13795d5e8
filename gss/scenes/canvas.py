"""The camera, and the canvas with twice the resolution of the picture.

World coordinates in metres: x to the right, y up from the road, z forward from the camera. Canvas coordinates in
samples: column to the right, row down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, POLE, PERSON = range(8)

SUPERSAMPLING = 2
NEAR = 1.0  # metres; nothing is drawn closer

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole looking along z. `focal`, `center` and `horizon` are in samples, `height` in metres."""

    rows: int
    columns: int
    focal: float
    center: float
    horizon: float
    height: float

    @classmethod
    def random(cls, rng: np.random.Generator, size: tuple[int, int]) -> Camera:
        """A driver's view on a picture of `size` (height, width) pixels: small random turn and pitch."""
        rows, columns = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
        return cls(
            rows=rows,
            columns=columns,
            focal=max(rows * 1.2, columns * 0.8) * rng.uniform(0.85, 1.1),
            center=columns * rng.uniform(0.38, 0.62),
            horizon=rows * rng.uniform(0.42, 0.56),
            height=rng.uniform(1.5, 2.3),
        )

    def project(self, point: Point) -> tuple[float, float]:
        """World point to (column, row); points behind the near plane are moved onto it."""
        x, y, z = point
        scale = self.focal / max(z, NEAR)
        return self.center + x * scale, self.horizon + (self.height - y) * scale


class Canvas:
    """Colours float32 (3, rows, columns), about 0..1, and labels uint8 (rows, columns), painted from far to near.

    Colour planes come first because numpy is several times slower if the innermost axis has three elements.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.color = np.zeros((3, camera.rows, camera.columns), np.float32)
        self.label = np.zeros((camera.rows, camera.columns), np.uint8)

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice] | None:
        """The samples whose centres lie in a rectangle, as (row slice, column slice); None if it is off the canvas."""
        row0, row1 = max(int(np.ceil(top - 0.5)), 0), min(int(np.ceil(bottom - 0.5)), self.camera.rows)
        column0, column1 = max(int(np.ceil(left - 0.5)), 0), min(int(np.ceil(right - 0.5)), self.camera.columns)
        if row0 >= row1 or column0 >= column1:
            return None
        return slice(row0, row1), slice(column0, column1)

    def put(self, window: tuple[slice, slice], mask: np.ndarray, color: np.ndarray, label: int) -> None:
        """Paints the masked samples of a window; `color` is (3,), or (3, h, w) over the window."""
        np.copyto(self.color[:, window[0], window[1]], color if color.ndim == 3 else planes(color), where=mask)
        np.copyto(self.label[window], label, where=mask)

    def polygon(self, points: Sequence[tuple[float, float]], color: np.ndarray, label: int) -> None:
        """Fills a convex polygon of (column, row) corners, in either winding."""
        columns, rows = zip(*points, strict=True)
        window = self.window(min(columns), min(rows), max(columns), max(rows))
        if window is None:
            return
        edges = list(zip(points, [*points[1:], points[0]], strict=True))
        area = sum(x0 * y1 - y0 * x1 for (x0, y0), (x1, y1) in edges)
        sign = 1.0 if area >= 0 else -1.0
        # Inside every edge: dx * (row - y0) >= dy * (column - x0), the row's side and the column's side apart.
        lines = np.array([(x1 - x0, y1 - y0, (x1 - x0) * y0 - (y1 - y0) * x0) for (x0, y0), (x1, y1) in edges]) * sign
        row, column = centers(window)
        of_row = lines[:, :1] * row[:, 0] - lines[:, 2:]
        of_column = lines[:, 1:2] * column[0]
        inside = (of_row[:, :, None] >= of_column[:, None, :]).all(axis=0)
        self.put(window, inside, color, label)

    def solid(self, points: Sequence[Point], color: np.ndarray, label: int) -> None:
        """Fills a convex polygon given in world coordinates."""
        self.polygon([self.camera.project(point) for point in points], color, label)

    def upright(
        self,
        z: float,
        bottom: tuple[float, float, float],
        top: tuple[float, float, float],
        color: np.ndarray,
        label: int,
    ) -> None:
        """Fills an upright trapezoid at distance z: its horizontal edges `bottom` and `top` are (x0, x1, y)."""
        (x0, x1, y0), (x2, x3, y1) = bottom, top
        self.solid([(x0, y0, z), (x1, y0, z), (x3, y1, z), (x2, y1, z)], color, label)

    def ellipse(self, x: float, y: float, radii: tuple[float, float], color: np.ndarray, label: int) -> None:
        """Fills an upright ellipse around (column, row)."""
        window = self.window(x - radii[0], y - radii[1], x + radii[0], y + radii[1])
        if window is None:
            return
        row, column = centers(window)
        inside = ((column - x) / radii[0]) ** 2 + ((row - y) / radii[1]) ** 2 <= 1
        self.put(window, inside, color, label)


def planes(color: np.ndarray) -> np.ndarray:
    """A colour (3,) as (3, 1, 1), ready to be broadcast over an area."""
    return color.reshape(3, 1, 1)


def centers(window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Sample centres of a window: rows (h, 1) and columns (1, w), float32."""
    rows, columns = window
    row = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + 0.5
    column = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + 0.5
    return row, column
