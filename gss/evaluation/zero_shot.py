"""Zero-shot evaluation of an MSeg model on six test sets, each in its own classes (arXiv 2303.11316, table 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gss.data.dataset import PairDataset, labelled_pairs
from gss.data.sources.layouts import open_dataset
from gss.data.sources.mseg import TEST_SETS
from gss.data.sources.taxonomy import map_prediction, palette_of
from gss.evaluation.metrics import SegmentationMetrics, harmonic_mean
from gss.io.progress import Progress
from gss.model.views.predict import predict_scores
from gss.palette import Palette

if TYPE_CHECKING:
    from gss.model.classifier import PixelClassifier
    from gss.model.gss import GSS


def evaluate_test_sets(
    model: GSS | PixelClassifier,
    root: Path,
    names: Sequence[str] = tuple(TEST_SETS),
    lists: Path | None = None,
    official_parity: bool = False,
    progress: Callable[[str], Progress] | None = None,
) -> dict[str, Any]:
    """Scores on each test set in `root` (mseg_dataset) by name, see `evaluate_test_set`.

    "h.mean" is the harmonic mean of their mIoUs; for all six sets it is the paper's figure. `progress(name)` returns a
    function that is called with (done, total) after each image. Raises FileNotFoundError for a missing test set.
    """
    results: dict[str, Any] = {}
    for name in names:
        dataset = open_dataset(root, "val", palette_of(name), cache=False, layout=name, lists=lists)
        report = None if progress is None else progress(name)
        results[name] = evaluate_test_set(model, dataset, name, official_parity=official_parity, progress=report)
    return {**results, "h.mean": harmonic_mean([results[name]["mIoU"] or 0.0 for name in names])}


@torch.inference_mode()
def evaluate_test_set(
    model: GSS | PixelClassifier,
    dataset: PairDataset,
    name: str,
    *,
    official_parity: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`SegmentationMetrics.compute()` of a model of the 194 universal classes in the classes of a test set.

    The scores of the universal classes are added up for each class of the test set, and the largest sum wins. With
    `official_parity` a universal class is chosen first; if the test set lacks it, the official code predicts class 0.

    Raises ValueError for a model of other classes.
    """
    universal = Palette.named("mseg").class_names
    if model.palette.class_names != universal:
        raise ValueError(
            f"model: expected the {len(universal)} classes of MSeg, which are mapped to those of {name}, got "
            f"{model.palette.num_classes} of the palette {model.palette.name!r}"
        )
    target = palette_of(name)
    metrics = SegmentationMetrics(target.num_classes, target.class_names)
    device = next(model.parameters()).device
    model.eval()
    for pair in labelled_pairs(dataset, target, progress):
        # No softmax over votes: it would give each of the many classes without votes a share, and the shares add up.
        scores = predict_scores(
            model.image_scores, pair["image"][None].to(device), model.inference, softmax=not model.scores_are_votes
        )
        labels = map_prediction(scores, name, official_parity=official_parity)
        metrics.update(labels[0].cpu(), pair["label"])
    return metrics.compute()
