"""Palettes in files of three formats.

.json   our own; a list of [r, g, b] and a flat list r, g, b, r, g, b, ... are read too
.png    the colour table of an index PNG (mode P): class k is entry k, the last entry is the ignore colour
.txt    a line "r g b name" for each class; the name "ignore" marks the ignore colour; "#" starts a comment
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gss.io.files import PathLike, replace_file, write_text
from gss.palette import BLACK, MAX_CLASSES, Color, Palette, palette_names

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIXES = (".json", ".png", ".txt")
IGNORE = "ignore"


def read_palette(source: PathLike, class_names: Sequence[str] | None = None, count: int | None = None) -> Palette:
    """A palette from a file of one of the formats above, or a shipped one by its name.

    Args:
        count: the number of classes, if the file has more entries than that. By default a PNG has all entries before
            those at the end that repeat the last one.
        class_names: names to use instead of those in the file; as many as there are classes.

    Raises FileNotFoundError, and ValueError that names the file and the mistake.

    Example:
        >>> read_palette("camvid", count=2).class_names
        ('sky', 'building')
    """
    path = Path(source)
    if str(source) in palette_names():
        palette = Palette.named(str(source))
    else:
        readers = {".json": _read_json, ".png": _read_table, ".txt": _read_text}
        palette = _by_suffix(path, readers, "source")(path, count)
    if count is not None and count > palette.num_classes:
        raise ValueError(f"{source}: expected at least {count} classes, got {palette.num_classes}")
    names = tuple(palette.class_names[:count] if class_names is None else class_names)
    return Palette(palette.name, names, palette.colors[:count], palette.ignore_color)


def write_palette(path: PathLike, palette: Palette) -> None:
    """Write a palette in the format of the suffix. Raises ValueError for another suffix."""
    writers = {".json": _write_json, ".png": _write_table, ".txt": _write_text}
    _by_suffix(Path(path), writers, "path")(Path(path), palette)


def _by_suffix(path: Path, formats: dict[str, Any], argument: str) -> Any:
    suffix = path.suffix.lower()
    if suffix not in formats:
        raise ValueError(f"{argument}: expected a file name that ends in {', '.join(SUFFIXES)}, got {str(path)!r}")
    return formats[suffix]


def _read_json(path: Path, count: int | None) -> Palette:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, list):
        return Palette.load(path)
    if values and not isinstance(values[0], list):
        if len(values) % 3:
            raise ValueError(f"{path}: expected three numbers a colour, got a list of {len(values)}")
        values = [values[k : k + 3] for k in range(0, len(values), 3)]
    return _palette(path, values[:count])


def _write_json(path: Path, palette: Palette) -> None:
    """Our own JSON with one class in a line."""
    values = {key: json.dumps(value, ensure_ascii=False) for key, value in palette.to_dict().items()}
    for key, rows in (("classes", palette.class_names), ("colors", palette.colors)):
        values[key] = "[\n    " + ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n  ]"
    write_text(path, "{\n" + ",\n".join(f'  "{key}": {value}' for key, value in values.items()) + "\n}\n")


def _read_table(path: Path, count: int | None) -> Palette:
    from gss.io.pillow import open_image

    with open_image(path) as image:
        if image.mode != "P":
            raise ValueError(f"{path}: expected an index PNG (mode P), which has a colour table, got mode {image.mode}")
        values = image.getpalette("RGB") or []
    table = [tuple(values[k : k + 3]) for k in range(0, len(values), 3)]
    # A shorter table has no entry for 255, the ignore label.
    ignore = table[MAX_CLASSES] if len(table) > MAX_CLASSES else BLACK
    if count is None:
        count = len(table)
        while count > 1 and table[count - 1] == ignore:
            count -= 1
    return _palette(path, table[: min(count, MAX_CLASSES)], ignore_color=ignore)


def _write_table(path: Path, palette: Palette) -> None:
    """A picture of 16 x 16 pixels, one for each index, so that a viewer shows the table."""
    from PIL import Image

    table = [*palette.colors, *[palette.ignore_color] * (256 - palette.num_classes)]
    image = Image.frombytes("P", (16, 16), bytes(range(256)))
    image.putpalette([channel for color in table for channel in color])
    with replace_file(path) as temporary:
        image.save(temporary)


def _read_text(path: Path, count: int | None) -> Palette:
    names: list[str] = []
    colors: list[Color] = []
    ignore = BLACK
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split(maxsplit=3)
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 3 or not all(word.isdecimal() for word in words[:3]):
            raise ValueError(f"{path}: line {number}: expected 'r g b name', got {line!r}")
        red, green, blue = (int(word) for word in words[:3])
        if words[3:] == [IGNORE]:
            ignore = (red, green, blue)
        else:
            names.append(words[3].strip() if words[3:] else f"class {len(names)}")
            colors.append((red, green, blue))
    return _palette(path, colors[:count], names[:count], ignore)


def _write_text(path: Path, palette: Palette) -> None:
    for name in palette.class_names:
        if name == IGNORE or name != name.strip() or len(name.splitlines()) != 1:
            raise ValueError(f"palette: a class called {name!r} cannot be written as a line 'r g b name'")
    rows = [*zip(palette.colors, palette.class_names, strict=True), (palette.ignore_color, IGNORE)]
    write_text(path, "".join(f"{red} {green} {blue} {name}\n" for (red, green, blue), name in rows))


def _palette(
    path: Path, colors: Sequence[Any], names: Sequence[str] | None = None, ignore_color: Any = BLACK
) -> Palette:
    class_names = [f"class {k}" for k in range(len(colors))] if names is None else names
    try:
        return Palette(path.stem, tuple(class_names), tuple(colors), ignore_color)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: not a palette: {error}") from error
