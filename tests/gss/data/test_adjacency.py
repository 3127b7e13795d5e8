"""How often classes touch, counted by hand."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from gss.data.adjacency import touching_classes, touching_pixels
from gss.data.sources.folder import list_folder
from gss.io.labels import write_label
from gss.palette import Palette

MAP = torch.tensor([[0, 0, 1], [2, 255, 1], [2, 2, 0]], dtype=torch.uint8)
# across: 0-1, 2-0; down: 0-2, 1-0; what touches 255 does not count
COUNTS = [[0, 2, 2], [2, 0, 0], [2, 0, 0]]


def test_touching_pixels() -> None:
    counts = touching_pixels(MAP, 3)
    assert counts.dtype == torch.int64 and counts.tolist() == COUNTS
    assert touching_pixels(MAP.long().T, 3).tolist() == COUNTS
    assert touching_pixels(MAP[:1, :1], 3).sum() == 0
    with pytest.raises(ValueError, match=r"labels: expected \(H, W\), got \(1, 3, 3\)"):
        touching_pixels(MAP[None], 3)


def test_touching_classes_of_a_folder(tmp_path: Path) -> None:
    palette = Palette("three", ("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    (tmp_path / "images" / "train").mkdir(parents=True)
    for name in ("x", "y"):
        Image.new("RGB", (3, 3)).save(tmp_path / "images" / "train" / f"{name}.png")
        write_label(tmp_path / "annotations" / "train" / f"{name}.png", MAP, palette)
    pairs = list_folder(tmp_path, "train").complete()
    assert touching_classes(pairs, 3).tolist() == [[2 * count for count in row] for row in COUNTS]
    with pytest.raises(ValueError, match=r"x.png: expected class ids 0..1, or 255 for ignore, got 2"):
        touching_classes(pairs, 2)
