"""Procedural scenes: deterministic, valid as a data set, and with every class in view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gss.data.sources.layouts import open_dataset
from gss.palette import Palette
from gss.scenes import generate_scenes, render_scene
from tests.gss.data.trees import check


def test_same_seed_same_scene() -> None:
    image, label = render_scene((3, 1))
    again = render_scene((3, 1))
    assert image.shape == (128, 192, 3) and image.dtype == np.uint8
    assert label.shape == (128, 192) and label.dtype == np.uint8
    assert np.array_equal(image, again[0]) and np.array_equal(label, again[1])
    assert not np.array_equal(image, render_scene((3, 2))[0])


def test_every_class_appears_and_stays_in_bounds() -> None:
    counts = sum(np.bincount(render_scene(seed)[1].ravel(), minlength=8) for seed in range(12))
    share = counts / counts.sum()
    assert len(share) == 8
    assert share.min() > 0.003  # people, the rarest class, cover about 1 %
    assert share.max() < 0.5


def test_scene_has_the_layout_of_a_street() -> None:
    for seed in range(6):
        label = render_scene(seed)[1]
        rows = {k: np.flatnonzero((label == k).any(axis=1)) for k in (0, 2)}
        assert rows[2].max() == 127 and rows[2].min() > 40  # road: from the bottom to the horizon
        assert rows[0].size == 0 or rows[0].max() < 90  # sky: never in the lower third


def test_pictures_are_neither_black_nor_blown_out() -> None:
    for seed in range(6):
        image = render_scene(seed)[0]
        assert 25 < image.mean() < 200
        assert image.std() > 20


@pytest.mark.parametrize("size", [(32, 32), (65, 97), (192, 256)])
def test_other_sizes(size: tuple[int, int]) -> None:
    image, label = render_scene(1, size)
    assert image.shape == (*size, 3) and label.shape == size


def test_generate_writes_a_clean_data_folder(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    generate_scenes(tmp_path, train=3, val=2, size=(48, 64), seed=5, progress=lambda *step: calls.append(step))
    palette = Palette.load(tmp_path / "palette.json")
    assert palette == Palette.named("scenes")
    report = check(tmp_path)
    assert report.ok and report.counts == {"train": 3, "val": 2}
    assert calls == [(i, 5) for i in range(1, 6)]
    item = open_dataset(tmp_path, "val", palette)[1]
    image, label = render_scene((5, 1, 1), (48, 64))
    assert np.array_equal(item["image"].permute(1, 2, 0).numpy(), image)
    assert np.array_equal(item["label"].numpy(), label)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="size: expected"):
        render_scene(0, (16, 192))
    with pytest.raises(ValueError, match="counts >= 0"):
        generate_scenes(tmp_path, train=-1)


def test_a_negative_seed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed: expected an integer >= 0, got -1"):
        generate_scenes(tmp_path / "new", train=1, val=0, size=(48, 64), seed=-1)
    assert not (tmp_path / "new").exists()
