"""Fitted palettes: what the arguments do, and which class gets which colour."""

import itertools
import math

import numpy as np
import pytest

from gss.palettes.fit import emptiest_color, farthest_first, fit_palette
from gss.palettes.spaces import SPACES

RGB = SPACES["rgb"]


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few starts are enough here; what the whole search reaches is for test_spread.py to say."""
    monkeypatch.setattr("gss.palettes.starts.STARTS", (8, 8))
    monkeypatch.setattr("gss.palettes.spread.HOPS", 1)
    monkeypatch.setattr("gss.palettes.spread.NEXT_MOVES", 200)


def test_same_seed_same_palette() -> None:
    first, second = fit_palette(7, seed=5), fit_palette(7, seed=5)
    assert first == second
    assert first.class_names == tuple(f"class {k}" for k in range(7)) and first.name == "fitted"
    assert first.min_distance()[0] >= 255


def test_names_and_an_ignore_color_that_stays_free() -> None:
    palette = fit_palette(("road", "sky", "tree", "car"), name="street")
    assert (palette.name, palette.class_names) == ("street", ("road", "sky", "tree", "car"))
    assert palette.min_distance()[0] == pytest.approx(255 * math.sqrt(2))
    # four corners, every second one; the other corners are as far from them as any colour is
    assert min(math.dist(palette.ignore_color, color) for color in palette.colors) >= 219


def test_classes_keep_away_from_a_given_ignore_color() -> None:
    palette = fit_palette(3, ignore_color=(0, 0, 0))
    assert palette.ignore_color == (0, 0, 0)
    assert sorted(palette.colors) == [(0, 255, 255), (255, 0, 255), (255, 255, 0)]


def test_oklab_makes_colors_that_look_different() -> None:
    palettes = {space: fit_palette(12, space=space) for space in ("rgb", "oklab")}
    seen = {}
    for space, palette in palettes.items():
        points = SPACES["oklab"].points(np.array(palette.colors, np.float64))
        seen[space] = min(math.dist(a, b) for a, b in itertools.combinations(points, 2))
    assert seen["oklab"] > 1.5 * seen["rgb"]
    assert palettes["rgb"].min_distance()[0] > palettes["oklab"].min_distance()[0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"classes": 1}, ValueError, "classes: expected a number from 2 to 255"),
        ({"classes": 256}, ValueError, "got 256"),
        ({"classes": ["one"]}, ValueError, "got 1"),
        ({"classes": "road"}, TypeError, "got 'road'"),
        ({"classes": True}, TypeError, "got True"),
        ({"classes": ["a", "a"]}, ValueError, "class_names: expected distinct"),
        ({"classes": 3, "ignore_color": (0, 0, 300)}, ValueError, "ignore_color: expected three integers"),
        ({"classes": 3, "space": "hsv"}, ValueError, "space: expected one of rgb, oklab, got 'hsv'"),
    ],
)
def test_wrong_arguments(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        fit_palette(**arguments)


def test_farthest_first() -> None:
    colors = np.array([[0, 0, 10], [0, 0, 255], [0, 0, 120], [0, 0, 0]])
    ordered = farthest_first(colors, np.array([0, 0, 0]), RGB)
    assert ordered[:, 2].tolist() == [255, 120, 10, 0]
    shuffled = farthest_first(colors[[2, 0, 3, 1]], np.array([0, 0, 0]), RGB)
    assert np.array_equal(ordered, shuffled)


def test_emptiest_color() -> None:
    corners = np.array(list(itertools.product((0, 255), repeat=3)))
    assert emptiest_color(corners, RGB).tolist() == [125, 125, 125]
    assert emptiest_color(corners[1:], RGB).tolist() == [0, 0, 0]
