"""Palette: the colour of every class.

A palette turns a label map into an image, the maskige, and back: X is a table look-up, X^-1 takes the nearest colour
(arXiv 2303.11316, section 3.2). The farther apart the colours, the more noise X^-1 tolerates. Importing this module
does not import torch.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

Color = tuple[int, int, int]

MAX_CLASSES = 255  # a label map is uint8 and 255 is the ignore label
BLACK: Color = (0, 0, 0)
_SHIPPED = Path(__file__).with_name("palettes")


@dataclass(frozen=True)
class Palette:
    """K class names with one RGB colour each, and the colour of ignored pixels.

    Attributes:
        colors: K distinct RGB triples with channels 0..255. Class k is painted in `colors[k]`.
        ignore_color: the colour of pixels without a class. X^-1 never returns it.
        ignore_index: 255, the label of pixels without a class.

    Raises ValueError or TypeError for anything else.

    Example:
        >>> palette = Palette("two", ("road", "sky"), ((0, 0, 0), (0, 0, 255)))
        >>> palette.min_distance()
        (255.0, (0, 1))
        >>> Palette.named("camvid").num_classes
        11
    """

    name: str
    class_names: tuple[str, ...]
    colors: tuple[Color, ...]
    ignore_color: Color = BLACK
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name: expected a string, got {type(self.name).__name__}")
        colors = tuple(_color(color, f"colors[{k}]") for k, color in enumerate(self.colors))
        names = tuple(self.class_names)
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "colors", colors)
        object.__setattr__(self, "ignore_color", _color(self.ignore_color, "ignore_color"))
        if not 1 <= len(colors) <= MAX_CLASSES:
            raise ValueError(f"colors: expected 1 to {MAX_CLASSES} colours, got {len(colors)}")
        if len(names) != len(colors):
            raise ValueError(f"class_names: expected one name a colour ({len(colors)}), got {len(names)}")
        for k, name in enumerate(names):
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"class_names[{k}]: expected a name, got {name!r}")
        _require_distinct(colors, "colors")
        _require_distinct(names, "class_names")
        if self.ignore_index != 255:
            raise ValueError(f"ignore_index: expected 255, the uint8 label of no class, got {self.ignore_index!r}")

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.colors)

    def tensor(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> torch.Tensor:
        """The colours as a (K, 3) tensor; uint8 unless `dtype` says otherwise."""
        import torch

        return torch.tensor(self.colors, dtype=torch.uint8 if dtype is None else dtype, device=device)

    def color_table(self) -> np.ndarray:
        """The colour of every label 0..255, uint8 (256, 3); labels without a class get the ignore colour."""
        import numpy as np

        table = np.empty((256, 3), np.uint8)
        table[:] = self.ignore_color
        table[: self.num_classes] = self.colors
        return table

    def min_distance(self) -> tuple[float, tuple[int, int]]:
        """The closest two colours: (Euclidean distance in levels, (i, j)); (inf, (0, 0)) for one class.

        X^-1 undoes every error of a maskige pixel below half of this distance.
        """
        closest = self.closest_pairs(1)
        return closest[0] if closest else (math.inf, (0, 0))

    def closest_pairs(self, count: int) -> list[tuple[float, tuple[int, int]]]:
        """The `count` closest pairs of colours in the form of `min_distance`, the closest first."""
        pairs = itertools.combinations(range(self.num_classes), 2)
        return heapq.nsmallest(count, ((math.dist(self.colors[i], self.colors[j]), (i, j)) for i, j in pairs))

    def margins(self) -> tuple[float, ...]:
        """Half the distance of each class to the nearest other colour, in levels: X^-1 undoes every smaller error."""
        distances = ([math.dist(a, b) for b in self.colors if b != a] for a in self.colors)
        return tuple(min(others, default=math.inf) / 2 for others in distances)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: name, classes, colors, ignore_color, ignore_index."""
        return {
            "name": self.name,
            "classes": list(self.class_names),
            "colors": [list(color) for color in self.colors],
            "ignore_color": list(self.ignore_color),
            "ignore_index": self.ignore_index,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, name: str = "palette") -> Palette:
        """The inverse of `to_dict`. Only "colors" is required; `name` is used if the mapping has no name.

        Unnamed classes are called "class 0", "class 1" and so on. A note under "source" is ignored. Raises ValueError
        or TypeError for unknown keys and wrong values.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"palette: expected a mapping with the key 'colors', got {type(values).__name__}")
        unknown = sorted(set(values) - {"name", "classes", "colors", "ignore_color", "ignore_index", "source"})
        if unknown:
            raise ValueError(
                f"palette: unknown key {', '.join(map(repr, unknown))}; known are name, classes, colors, ignore_color, "
                "ignore_index, source"
            )
        if "colors" not in values:
            raise ValueError("palette: the key 'colors' (a list of [r, g, b]) is missing")
        colors = values["colors"]
        if isinstance(colors, str) or not isinstance(colors, Sequence):
            raise TypeError(f"colors: expected a list of [r, g, b], got {type(colors).__name__}")
        classes = values.get("classes")
        if classes is None:
            classes = [f"class {k}" for k in range(len(colors))]
        elif isinstance(classes, str) or not isinstance(classes, Sequence):
            raise TypeError(f"classes: expected a list of names, got {type(classes).__name__}")
        return cls(
            name=values.get("name", name),
            class_names=tuple(classes),
            colors=tuple(colors),
            ignore_color=values.get("ignore_color", BLACK),
            ignore_index=values.get("ignore_index", 255),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Palette:
        """A palette from JSON. Raises FileNotFoundError, or ValueError that names the file and the mistake."""
        source = Path(path)
        try:
            return cls.from_dict(json.loads(source.read_text(encoding="utf-8")), name=source.stem)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source}: not a palette: {error}") from error

    @classmethod
    def named(cls, name: str) -> Palette:
        """A palette that ships with gss, see `palette_names`. Raises ValueError for another name."""
        if name not in palette_names():
            raise ValueError(f"name: expected one of {', '.join(palette_names())}, got {name!r}")
        return cls.load(_SHIPPED / f"{name}.json")


def palette_names() -> tuple[str, ...]:
    """The names of the palettes that ship with gss, sorted."""
    return tuple(sorted(file.stem for file in _SHIPPED.glob("*.json")))


def get_palette(name_or_path: str | os.PathLike[str] | Palette) -> Palette:
    """A shipped palette by name, else the JSON file at that path. Raises ValueError if it is neither."""
    if isinstance(name_or_path, Palette):
        return name_or_path
    text = os.fspath(name_or_path)
    if text in palette_names():
        return Palette.named(text)
    if Path(text).is_file():
        return Palette.load(text)
    raise ValueError(
        f"palette: expected one of {', '.join(palette_names())} or the path of a palette JSON file, got {text!r}"
    )


def _require_distinct(values: tuple[Any, ...], argument: str) -> None:
    for k, value in enumerate(values):
        if value in values[:k]:
            raise ValueError(
                f"{argument}: expected distinct values, but {values.index(value)} and {k} are both {value!r}"
            )


def _color(value: Any, argument: str) -> Color:
    """Three integers 0..255 as a tuple. Booleans and floats are refused: they are nearly always a scaling mistake."""
    message = f"{argument}: expected three integers 0..255 (r, g, b), got {value!r}"
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(message)
    channels = tuple(value)
    if any(isinstance(channel, bool) or not isinstance(channel, int) for channel in channels):
        raise TypeError(message)
    if len(channels) != 3 or not all(0 <= channel <= 255 for channel in channels):
        raise ValueError(message)
    red, green, blue = channels
    return red, green, blue
