"""A model's scores on a split."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from .data.folder import FolderDataset
from .metrics import SegmentationMetrics
from .palette import Palette
from .result import Result

if TYPE_CHECKING:
    from .model import GSS
    from .twin import PixelClassifier

Progress = Callable[[int, int], None]


def evaluate(model: GSS | PixelClassifier, dataset: FolderDataset, progress: Progress | None = None) -> dict[str, Any]:
    """Predict every image of a split at its own size and compare with its labels.

    `progress(done, total)` is called after each image. Returns `SegmentationMetrics.compute()`: mIoU, mAcc, aAcc in
    0..1 and per_class. Raises ValueError where the data's classes are not the model's.
    """
    require_same_classes(model.palette, dataset)
    metrics = SegmentationMetrics(model.palette.num_classes, model.palette.class_names)
    for index in range(len(dataset)):
        pair = dataset[index]
        result = model.predict(pair["image"])
        assert isinstance(result, Result)  # one image in, one result out
        metrics.update(result.labels, pair["label"])
        if progress is not None:
            progress(index + 1, len(dataset))
    return metrics.compute()


def require_same_classes(palette: Palette, dataset: FolderDataset) -> None:
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
