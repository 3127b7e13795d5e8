"""The official "posterior learning" script against its recorded palettes (07_posterior.json), and what ours reaches."""

import itertools
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from gss.colors.lattice import LATTICES, lattice_palette
from gss.palette import Palette

FOLDER = os.environ.get("GSS_OFFICIAL_FIXTURES", "")


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads((Path(FOLDER) / "07_posterior.json").read_text())


def smallest(colors: Any) -> float:
    return min(math.dist(a, b) for a, b in itertools.combinations(colors, 2))


def test_lattices(recorded: dict[str, Any]) -> None:
    for kind, lattice in LATTICES.items():
        assert [list(color) for color in lattice.grid()] == recorded[f"grid_{kind}"]
        assert smallest(lattice.grid()) == recorded[f"grid_{kind}_min_pairwise_l2"]


def test_jittered_palettes(recorded: dict[str, Any]) -> None:
    runs = recorded["runs"]
    assert {(run["dataset"], run["python_random_seed"]) for run in runs} == {
        (kind, seed) for kind in LATTICES for seed in (0, 1, 2)
    }
    for run in runs:
        colors = lattice_palette(run["dataset"], run["python_random_seed"])
        assert [list(color) for color in colors] == run["palette"]
        assert len(colors) == run["length"]
        assert smallest(colors) == pytest.approx(run["min_pairwise_l2"], rel=1e-12)


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "mseg"])
def test_released_palettes(name: str, recorded: dict[str, Any]) -> None:
    wanted, palette = recorded[f"config_palette_{name}"], Palette.named(name)
    assert palette.num_classes + 1 == wanted["length"]
    assert palette.min_distance()[0] == pytest.approx(wanted["min_pairwise_l2"], rel=1e-12)
    with_ignore = smallest((*palette.colors, palette.ignore_color))
    assert with_ignore == pytest.approx(wanted["min_pairwise_l2_with_ignore"], rel=1e-12)
