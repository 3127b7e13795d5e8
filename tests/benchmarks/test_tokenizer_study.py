"""What the study of tokenizer sizes stands on: the counted cost, and label maps of many classes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.many_classes import label_map, write_label_maps
from benchmarks.tokenizer_cost import tokenizer_cost
from gss.config import CompactConfig, DalleConfig, VqganConfig
from gss.data.sources.layouts import detect_label_layout, open_dataset
from gss.palette import Palette


def test_cost_of_a_small_compact_tokenizer_by_hand() -> None:
    config = CompactConfig(stride=2, codes=16, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=2)
    block = 9 * 8 * 8 + 8 * 8
    encode = 12 * 8 + block + 8 * 4 + 16 * 4  # to the width, a block, to the code, the search
    decode = 9 * 4 * 8 + 2 * block + 8 * 12
    assert tokenizer_cost(config, side=32) == (2 * encode / 4, 2 * decode / 4)


def test_cost_of_the_dalle_dvae() -> None:
    """4.2 and 4.7 million operations a maskige pixel; the compact tokenizer's are a hundredth."""
    cost = tokenizer_cost(DalleConfig(), side=64)
    assert cost.encode == pytest.approx(4.15e6, rel=0.01) and cost.decode == pytest.approx(4.67e6, rel=0.01)
    assert sum(tokenizer_cost(CompactConfig(), side=64)) < sum(cost) / 100


def test_attention_and_search_are_counted() -> None:
    config = VqganConfig(
        codes=16, code_dim=4, channels=(8, 8), blocks=1, attention_levels=(), latent_channels=4, groups=4
    )
    without = tokenizer_cost(VqganConfig(**{**vars(config), "middle_attention": False}), side=32)
    # Four linear layers, and every one of 256 tokens with each of 256 twice.
    attention = 2 * 256 * (4 * 8 * 8 + 2 * 256 * 8) / 32**2
    assert tokenizer_cost(config, side=32).encode - without.encode == pytest.approx(attention)
    twice = VqganConfig(**{**vars(config), "codes": 32, "middle_attention": False})
    assert tokenizer_cost(twice, side=32).encode - without.encode == pytest.approx(2 * 16 * 4 / 4)


def test_label_maps_of_many_classes(tmp_path: Path) -> None:
    labels = label_map(150, (96, 128), np.random.default_rng(0))
    assert labels.shape == (96, 128) and labels.dtype == np.uint8
    assert np.array_equal(labels, label_map(150, (96, 128), np.random.default_rng(0)))
    ids = np.unique(labels)
    assert 8 <= len(ids) <= 41 and ids[ids < 255].max() < 150
    counts = sum(
        np.bincount(label_map(150, (64, 64), np.random.default_rng(seed)).ravel(), minlength=256) for seed in range(40)
    )
    assert (counts[:150] > 0).sum() > 120 and counts[:30].sum() > counts[120:150].sum() and counts[255] > 0

    palette = Palette.named("ade20k")
    write_label_maps(tmp_path, palette, train=2, val=1, shape=(32, 48))
    layout = detect_label_layout(tmp_path)
    assert layout == "labels"
    dataset = open_dataset(tmp_path, "train", layout=layout)
    assert len(dataset) == 2 and dataset.palette.class_names == palette.class_names
    assert dataset[1]["label"].shape == (32, 48)
