"""The official "posterior learning" script against its recorded palettes (07_posterior.json), and what ours reaches."""

import itertools
import math
from typing import Any

import pytest

from gss.palette import Palette
from gss.palettes.lattice import LATTICES, lattice_palette
from tests.official.compare import assert_equal, assert_near
from tests.official.recordings import FOLDER, load_json

NAME = "07_posterior"


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return load_json(FOLDER / f"{NAME}.json")


def smallest(colors: Any) -> float:
    return min(math.dist(a, b) for a, b in itertools.combinations(colors, 2))


def assert_distance(quantity: str, got: float, wanted: float) -> None:
    assert_near(NAME, quantity, [got], [wanted], atol=0, rtol=1e-12)


def test_lattices(recorded: dict[str, Any]) -> None:
    for kind, lattice in LATTICES.items():
        assert_equal(NAME, "grids", lattice.grid(), recorded[f"grid_{kind}"], kind)
        assert_distance("smallest distances", smallest(lattice.grid()), recorded[f"grid_{kind}_min_pairwise_l2"])


def test_jittered_palettes(recorded: dict[str, Any]) -> None:
    runs = recorded["runs"]
    assert {run["dataset"] for run in runs} == set(LATTICES)
    for run in runs:
        colors = lattice_palette(run["dataset"], run["python_random_seed"])
        assert_equal(NAME, "palettes", colors, run["palette"], run["dataset"])
        assert len(colors) == run["length"]
        assert_distance("smallest distances", smallest(colors), run["min_pairwise_l2"])


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "mseg"])
def test_released_palettes(name: str, recorded: dict[str, Any]) -> None:
    wanted, palette = recorded[f"config_palette_{name}"], Palette.named(name)
    assert palette.num_classes + 1 == wanted["length"]
    assert_distance("smallest distances", palette.min_distance()[0], wanted["min_pairwise_l2"])
    with_ignore = smallest((*palette.colors, palette.ignore_color))
    assert_distance("smallest distances", with_ignore, wanted["min_pairwise_l2_with_ignore"])
