"""The MSeg taxonomy: from the ids of seven training sets to 194 universal classes, and from these to six test sets.

The tables are in mseg_taxonomy.json. They are facts from MSeg_master.tsv of "MSeg: A Composite Dataset for Multi-domain
Semantic Segmentation" (Lambert et al., CVPR 2020). The universal classes are those of the palette "mseg". A universal
class belongs to at most one class of a test set. Many belong to none: 182 for camvid-11, 172 for kitti-19, 171 for
wilddash-19, 157 for scannet-20. voc2012 and pascal-context-60 have a background class for the rest.
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

    255 stays 255. Ids that the set does not have become `gss.io.labels.NO_ID`. Raises ValueError for another name.
    """
    return remap_table(dict(enumerate(_entry("train", train_set, "train_set"))))


def classes_of(test_set: str) -> tuple[str, ...]:
    """The class names of a test set, in the order of its ids. Raises ValueError for another name."""
    return tuple(_entry("test", test_set, "test_set")["classes"])


def palette_of(test_set: str) -> Palette:
    """The classes of a test set in the colours of PASCAL VOC's rule, to draw its labels.

    No maskige is painted in these colours, because models predict the universal classes. Raises ValueError for another
    name.

    Example:
        >>> palette_of("kitti-19").class_names[:3]
        ('road', 'sidewalk', 'building')
    """
    names = classes_of(test_set)
    return Palette(test_set, names, tuple(map(_voc_color, range(len(names)))), ignore_color=(224, 224, 192))


def universal_to_test(test_set: str) -> torch.Tensor:
    """Look-up table, uint8 (256,), from universal ids to the ids of a test set; 255 for classes that it lacks.

    Raises ValueError for another name.
    """
    row = _entry("test", test_set, "test_set")["of_universal"]
    return remap_table({k: test for k, test in enumerate(row) if test is not None}, default=IGNORE)


def map_scores(scores: torch.Tensor, test_set: str) -> torch.Tensor:
    """Universal scores (B, 194, H, W) as scores of a test set (B, K, H, W), summed over the universal classes of each.

    `scores` are probabilities or votes: floating point and not negative, such as softmax gives, since a sum of logits
    has no meaning. Raises TypeError for another dtype, ValueError for another shape and for negative scores.
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
    # One sum for each class: the result of index_add would change from run to run on a GPU.
    members = [torch.nonzero(table == k).flatten().to(scores.device) for k in range(len(classes_of(test_set)))]
    return torch.stack([scores.index_select(1, k).sum(1) for k in members], dim=1)


def map_prediction(scores: torch.Tensor, test_set: str, *, official_parity: bool = False) -> torch.Tensor:
    """Labels of the test set, uint8 (B, H, W), from universal scores (B, 194, H, W) as in `map_scores`.

    The class with the largest summed score wins, the lowest id on ties. A pixel where no class of the test set has any
    score becomes 255, "no class", which evaluation counts as wrong.

    With `official_parity` the winner among the 194 classes is taken first and then mapped, as in the official
    evaluation. Where the test set lacks the winner, the official code takes the argmax of an all-zero vector and so
    predicts class 0.

    Example:
        >>> scores = torch.zeros(1, 194, 1, 1)
        >>> scores[0, Palette.named("mseg").class_names.index("road")] = 1.0
        >>> classes_of("camvid-11")[map_prediction(scores, "camvid-11")]
        'Road'
    """
    if not official_parity:
        best, labels = map_scores(scores, test_set).max(dim=1)
        return torch.where(best > 0, labels, IGNORE).to(torch.uint8)
    if scores.ndim != 4 or scores.shape[1] != UNIVERSAL_CLASSES:
        raise ValueError(f"scores: expected (B, {UNIVERSAL_CLASSES}, H, W), got {tuple(scores.shape)}")
    table = universal_to_test(test_set)
    table[table == IGNORE] = 0
    return table.to(scores.device)[scores.max(dim=1).indices]


def _entry(side: str, name: str, argument: str) -> Any:
    entries = _taxonomy()[side]
    if name not in entries:
        raise ValueError(f"{argument}: expected one of {', '.join(entries)}, got {name!r}")
    return entries[name]


@functools.cache
def _taxonomy() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("mseg_taxonomy.json").read_text(encoding="utf-8"))


def _voc_color(k: int) -> Color:
    """PASCAL VOC's rule: bit 3n + c of the class id is bit 7 - n of channel c. Neighbouring ids get distant colours."""
    red, green, blue = (sum((k >> 3 * n + c & 1) << 7 - n for n in range(3)) for c in range(3))
    return red, green, blue
