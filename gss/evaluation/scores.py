"""The scores of a model on a split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gss.data.dataset import PairDataset, labelled_pairs
from gss.evaluation.metrics import SegmentationMetrics
from gss.io.progress import Progress

if TYPE_CHECKING:
    from gss.model.classifier import PixelClassifier
    from gss.model.gss import GSS


def evaluate(model: GSS | PixelClassifier, dataset: PairDataset, progress: Progress | None = None) -> dict[str, Any]:
    """Predict every image of a split at its own size and compare with its labels.

    `progress(done, total)` is called after each image. Returns `SegmentationMetrics.compute()`: mIoU, mAcc and aAcc in
    0..1 and per_class; and "confusion", one row of pixel counts for each target class. Raises ValueError if the classes
    of the data are not the model's.
    """
    metrics = SegmentationMetrics(model.palette.num_classes, model.palette.class_names)
    for pair in labelled_pairs(dataset, model.palette, progress):
        result = model.predict(pair["image"], certainty=False)
        metrics.update(result.labels, pair["label"])
    return {**metrics.compute(), "confusion": metrics.confusion.tolist()}
