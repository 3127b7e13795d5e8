"""A tiny valid data folder that tests may break."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gss.io.labels import write_label
from gss.palette import Palette


@pytest.fixture
def palette() -> Palette:
    return Palette("three", ("a", "b", "c"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)), ignore_color=(9, 9, 9))


@pytest.fixture
def folder(tmp_path: Path, palette: Palette) -> Path:
    """Four train and two val pairs of 12 x 16 pixels; images are JPEG and PNG in turn."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "annotations"):
            (tmp_path / kind / split).mkdir(parents=True)
        for i in range(count):
            image = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
            image.save(tmp_path / "images" / split / f"n{i}.{('jpg', 'png')[i % 2]}")
            labels = torch.from_numpy(rng.choice([0, 1, 2, 255], (12, 16)).astype(np.uint8))
            write_label(tmp_path / "annotations" / split / f"n{i}.png", labels, palette)
    return tmp_path
