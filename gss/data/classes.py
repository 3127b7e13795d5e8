"""Whether a model and a data set mean the same by their class ids."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from gss.io.progress import Progress
from gss.palette import Palette


def require_same_classes(palette: Palette, dataset: Any) -> None:
    """Raises ValueError unless the data has the classes of the model's `palette`, in the same order.

    What the data has says the data set's own palette, and palette.json in its folder if there is one. With another
    order class ids would be compared that mean different things, and every score would be wrong without a word.
    """
    palettes = [(f"the data set {dataset.root}", dataset.palette)]
    beside = dataset.root / "palette.json"
    if beside.is_file():
        palettes.append((str(beside), Palette.load(beside)))
    for where, other in palettes:
        pairs = zip_longest(palette.class_names, other.class_names, fillvalue="none")
        for k, (expected, got) in enumerate(pairs):
            if expected != got:
                raise ValueError(
                    f"{where}: expected the model's classes, but class {k} is {got} instead of {expected}; the model's "
                    f"palette is {_listed(palette)}, the data's {_listed(other)}"
                )


def _listed(palette: Palette) -> str:
    return f"{palette.name!r} ({', '.join(palette.class_names)})"


def labelled_pairs(dataset: Any, palette: Palette, progress: Progress | None = None) -> Iterator[dict[str, Any]]:
    """Every {"image", "label", "name"} of a data set in order; `progress` is called after each.

    Raises ValueError before the first pair where the data's classes are not the palette's.
    """
    require_same_classes(palette, dataset)

    def pairs() -> Iterator[dict[str, Any]]:
        for index in range(len(dataset)):
            yield dataset[index]
            if progress is not None:
                progress(index + 1, len(dataset))

    return pairs()
