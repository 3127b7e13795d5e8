"""The shipped palettes against the facts of the released ones (07_posterior.json)."""

import itertools
import math
from typing import Any

import pytest

from gss.palette import Palette
from tests.official.compare import assert_near
from tests.official.recordings import FOLDER, load_json

NAME = "07_posterior"


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return load_json(FOLDER / f"{NAME}.json")


def smallest(colors: Any) -> float:
    return min(math.dist(a, b) for a, b in itertools.combinations(colors, 2))


def assert_distance(quantity: str, got: float, wanted: float) -> None:
    assert_near(NAME, quantity, [got], [wanted], atol=0, rtol=1e-12)


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "mseg"])
def test_released_palettes(name: str, recorded: dict[str, Any]) -> None:
    wanted, palette = recorded[f"config_palette_{name}"], Palette.named(name)
    assert palette.num_classes + 1 == wanted["length"]
    assert_distance("smallest distances", palette.min_distance()[0], wanted["min_pairwise_l2"])
    with_ignore = smallest((*palette.colors, palette.ignore_color))
    assert_distance("smallest distances", with_ignore, wanted["min_pairwise_l2_with_ignore"])
