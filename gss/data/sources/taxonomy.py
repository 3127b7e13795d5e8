"""The MSeg taxonomy: ids of seven training sets to 194 universal classes, and those to the classes of six test sets.

Facts from MSeg_master.tsv of "MSeg: A Composite Dataset for Multi-domain Semantic Segmentation" (Lambert et al., CVPR
2020), in mseg_taxonomy.json. The universal classes are those of the palette "mseg". A universal class belongs to at
most one class of a test set; to none at all in 182 cases for camvid-11, 172 for kitti-19, 171 for wilddash-19, 157 for
scannet-20. voc2012 and pascal-context-60 have a background class that takes the rest.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch

from gss.io.labels import remap_table
from gss.palette import Color, Palette

UNIVERSAL_CLASSES = 194
IGNORE = 255


def train_to_universal(train_set: str) -> torch.Tensor:
    """Look-up table, uint8 (256,), from the stored ids of a training set ("ade20k-150-relabeled") to universal ids.

    255 stays 255; an id that the set does not have becomes `gss.io.labels.NO_ID`. Raises ValueError for another name.
    """
    return remap_table(dict(enumerate(_entry("train", train_set, "train_set"))))


def classes_of(test_set: str) -> tuple[str, ...]:
    """The class names of a test set, in the order of its ids. Raises ValueError for another name."""
    return tuple(_entry("test", test_set, "test_set")["classes"])


def palette_of(test_set: str) -> Palette:
    """The classes of a test set in the colours of PASCAL VOC's rule, to draw its labels with.

    No maskige is made with these: a test set's classes are read off the universal ones. Raises ValueError for another
    name.
    """
    names = classes_of(test_set)
    return Palette(test_set, names, tuple(map(_voc_color, range(len(names)))), ignore_color=(224, 224, 192))


def universal_to_test(test_set: str) -> torch.Tensor:
    """Look-up table, uint8 (256,), from universal ids to those of a test set; 255 for the classes that it lacks.

    Raises ValueError for another name.
    """
    row = _entry("test", test_set, "test_set")["of_universal"]
    return remap_table({k: test for k, test in enumerate(row) if test is not None}, default=IGNORE)


def map_labels(labels: torch.Tensor, test_set: str, *, official_parity: bool = False) -> torch.Tensor:
    """Universal labels, integers 0..255 of any shape, to a test set's labels, uint8 of the same shape.

    A pixel whose class the test set lacks becomes 255, "no class", which evaluation counts as wrong. The official code
    takes the argmax of an all-zero vector there and so predicts class 0; `official_parity` does the same. Prefer
    `map_prediction` where there are scores. Raises TypeError for other than integer labels.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels: expected integers, got {labels.dtype}")
    table = universal_to_test(test_set)
    if official_parity:
        table[:UNIVERSAL_CLASSES][table[:UNIVERSAL_CLASSES] == IGNORE] = 0
    return table.to(labels.device)[labels.to(torch.int64)]


def map_scores(scores: torch.Tensor, test_set: str) -> torch.Tensor:
    """Universal scores (B, 194, H, W) to a test set's (B, K, H, W): each class gets the sum over its universal classes.

    `scores` are probabilities or votes: floating point, not negative, such as softmax gives; the sum of logits means
    nothing. Raises TypeError for another dtype, ValueError for another shape and for negative scores.
    """
    if not scores.is_floating_point():
        raise TypeError(f"scores: expected floating point, got {scores.dtype}")
    if scores.ndim != 4 or scores.shape[1] != UNIVERSAL_CLASSES:
        raise ValueError(f"scores: expected (B, {UNIVERSAL_CLASSES}, H, W), got {tuple(scores.shape)}")
    if bool((scores < 0).any()):
        raise ValueError(
            f"scores: expected probabilities or votes >= 0, got {scores.min().item()}; apply softmax first"
        )
    table = universal_to_test(test_set)[:UNIVERSAL_CLASSES]
    # One sum a class instead of an index_add, whose result on a GPU would change from run to run.
    members = [torch.nonzero(table == k).flatten().to(scores.device) for k in range(len(classes_of(test_set)))]
    return torch.stack([scores.index_select(1, k).sum(1) for k in members], dim=1)


def map_prediction(scores: torch.Tensor, test_set: str, *, official_parity: bool = False) -> torch.Tensor:
    """The test set's labels, uint8 (B, H, W), from universal scores (B, 194, H, W) as in `map_scores`.

    The class with the largest summed score wins, the lowest on ties; 255, "no class", where no class has any score, as
    with votes that all went to universal classes that the test set lacks. With `official_parity` the winner among the
    194 classes is taken first and then mapped, as the official evaluation does, see `map_labels`.
    """
    if official_parity:
        if scores.ndim != 4 or scores.shape[1] != UNIVERSAL_CLASSES:
            raise ValueError(f"scores: expected (B, {UNIVERSAL_CLASSES}, H, W), got {tuple(scores.shape)}")
        return map_labels(scores.max(dim=1).indices, test_set, official_parity=True)
    best, labels = map_scores(scores, test_set).max(dim=1)
    return torch.where(best > 0, labels, IGNORE).to(torch.uint8)


def _entry(side: str, name: str, argument: str) -> Any:
    entries = _taxonomy()[side]
    if name not in entries:
        raise ValueError(f"{argument}: expected one of {', '.join(entries)}, got {name!r}")
    return entries[name]


@functools.cache
def _taxonomy() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("mseg_taxonomy.json").read_text(encoding="utf-8"))


def _voc_color(k: int) -> Color:
    """Bit 3n + c of the class id is bit 7 - n of channel c: neighbouring ids get distant colours, all distinct."""
    red, green, blue = (sum((k >> 3 * n + c & 1) << 7 - n for n in range(3)) for c in range(3))
    return red, green, blue
