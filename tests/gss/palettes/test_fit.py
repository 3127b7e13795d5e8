"""Fitted palettes: the effect of the arguments, known optima, and the parts of the search."""

import itertools
import math

import numpy as np
import pytest

from gss.palettes import spread
from gss.palettes.fit import emptiest_color, farthest_first, fit_palette
from gss.palettes.spaces import SPACES, jacobian, oklab, rgb
from gss.palettes.spread import relax, smallest_distances, spread_colors, squared_distances, to_integers
from gss.palettes.starts import checkered_grids, distance_bound, starting_points, thinned

NOTHING = np.zeros((0, 3))


@pytest.fixture
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few starts and moves, for tests that do not ask how far the whole search gets."""
    monkeypatch.setattr("gss.palettes.starts.STARTS", (8, 8))
    monkeypatch.setattr(spread, "NEXT_MOVES", 200)


def smallest(colors: np.ndarray) -> float:
    return min(math.dist(a, b) for a, b in itertools.combinations(colors, 2))


def test_same_seed_same_palette(short_search) -> None:
    first, second = fit_palette(7, seed=5), fit_palette(7, seed=5)
    assert first == second
    assert first.class_names == tuple(f"class {k}" for k in range(7)) and first.name == "fitted"
    assert first.min_distance()[0] >= 255


def test_names_and_an_ignore_color_that_stays_free(short_search) -> None:
    palette = fit_palette(("road", "sky", "tree", "car"), name="street")
    assert (palette.name, palette.class_names) == ("street", ("road", "sky", "tree", "car"))
    assert palette.min_distance()[0] == pytest.approx(255 * math.sqrt(2))
    # the classes are every second corner; the other corners are as far from them as any colour is
    assert min(math.dist(palette.ignore_color, color) for color in palette.colors) >= 219


def test_classes_keep_away_from_a_given_ignore_color(short_search) -> None:
    palette = fit_palette(3, ignore_color=(0, 0, 0))
    assert palette.ignore_color == (0, 0, 0)
    assert sorted(palette.colors) == [(0, 255, 255), (255, 0, 255), (255, 255, 0)]


def test_oklab_makes_colors_that_look_different(short_search) -> None:
    palettes = {space: fit_palette(12, space=space) for space in ("rgb", "oklab")}
    seen = {space: smallest(oklab(np.array(palette.colors, np.float64))) for space, palette in palettes.items()}
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
    for order in (range(4), (2, 0, 3, 1)):
        assert farthest_first(colors[list(order)], np.array([0, 0, 0]), rgb)[:, 2].tolist() == [255, 120, 10, 0]


def test_emptiest_color() -> None:
    corners = np.array(list(itertools.product((0, 255), repeat=3)))
    assert emptiest_color(corners, rgb).tolist() == [125, 125, 125]
    assert emptiest_color(corners[1:], rgb).tolist() == [0, 0, 0]


# The largest smallest distances of K points in a unit cube, proved or generally believed, times 255. Where the optimum
# needs halves, integers lose up to sqrt 3 / 2 of a level.
@pytest.mark.parametrize(
    ("count", "optimum", "lost"),
    [
        (2, math.sqrt(3), 0),
        (4, math.sqrt(2), 0),
        (8, 1, 0),
        (9, math.sqrt(3) / 2, 0.9),
        (14, math.sqrt(2) / 2, 0.8),
    ],
)
def test_known_optima(count: int, optimum: float, lost: float) -> None:
    colors = spread_colors(count, np.random.default_rng(0), fixed=NOTHING, space=rgb)
    assert colors.shape == (count, 3) and colors.dtype == np.int64
    assert colors.min() >= 0 and colors.max() <= 255
    assert 255 * optimum - lost - 1e-9 <= smallest(colors) <= 255 * optimum + 1e-9


# The official palettes have 20.0 and 18.7. The whole search takes some seconds and reaches 59.8 and 55.2.
@pytest.mark.parametrize(("count", "distance"), [(150, 59.0), (194, 55.0)])
def test_many_colors_by_a_short_search(count: int, distance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gss.palettes.starts.STARTS", (4, 4))
    for name, value in {"FIRST_MOVES": 30, "NEXT_MOVES": 80, "FINALISTS": 1, "SWEEPS": 2}.items():
        monkeypatch.setattr(spread, name, value)
    colors = spread_colors(count, np.random.default_rng(0), fixed=NOTHING, space=rgb)
    assert distance <= smallest(colors) <= distance_bound(count)


def test_bound_is_above_every_known_packing() -> None:
    assert distance_bound(1) == math.inf
    assert distance_bound(2) == pytest.approx(255 * math.sqrt(3))
    # n^3 grid points are 255 / (n - 1) apart, the cells of one colour of an n^3 board sqrt 2 times that
    for n in range(3, 8):
        assert distance_bound(n**3) > 255 / (n - 1)
        assert distance_bound((n**3 + 1) // 2) > math.sqrt(2) * 255 / (n - 1)
    bounds = [distance_bound(count) for count in range(2, 256)]
    assert bounds == sorted(bounds, reverse=True)


def test_checkered_grid_is_the_cubic_lattice() -> None:
    grid = checkered_grids(14)[0]  # the corners and face centres of the cube
    assert len(grid) == 14 and smallest(grid) == pytest.approx(255 / math.sqrt(2))
    for count in (20, 150, 255):
        for grid in checkered_grids(count):
            assert len(grid) >= count and (grid.min(), grid.max()) == (0, pytest.approx(255))


@pytest.mark.parametrize("count", [2, 9, 40])
def test_starts_are_in_the_cube(count: int) -> None:
    starts = starting_points(count, np.random.default_rng(1))
    assert starts.shape[1:] == (count, 3)
    assert starts.min() >= 0 and starts.max() <= 255


def test_thinning_removes_one_of_the_closest() -> None:
    points = np.array([[0.0, 0, 0], [100, 0, 0], [101, 0, 0], [200, 0, 0]])
    left = thinned(points, 3, np.random.default_rng(0))
    assert left[:, 0].tolist() in ([0, 100, 200], [0, 101, 200])


@pytest.mark.parametrize("space", SPACES.values())
def test_relaxing_moves_points_apart_and_keeps_them_in_the_cube(space) -> None:
    starts = np.random.default_rng(2).uniform(100, 150, (3, 7, 3))
    before = starts.copy()
    fixed = np.array([[0.0, 0, 0]])
    after = relax(starts, 80, power=12.0, step=6.0, fixed=fixed, space=space)
    assert np.array_equal(starts, before)
    assert after.shape == starts.shape and after.min() >= 0 and after.max() <= 255
    gain = smallest_distances(after, fixed, space) / smallest_distances(starts, fixed, space)
    assert (gain > 3).all()


def test_a_set_is_relaxed_as_if_alone() -> None:
    starts = np.random.default_rng(3).uniform(0, 255, (2, 5, 3))
    together, alone = (relax(s, 30, power=20.0, step=2.0, fixed=NOTHING, space=rgb) for s in (starts, starts[1:]))
    assert np.abs(together[1] - alone[0]).max() < 1.0  # float32 forces; the matrix product may add in another order


def test_integers_keep_the_distance_that_rounding_loses() -> None:
    rng = np.random.default_rng(4)
    relaxed = relax(rng.uniform(0, 255, (1, 16, 3)), 250, power=12.0, step=6.0, fixed=NOTHING, space=rgb)[0]
    integers = to_integers(relaxed, NOTHING, rgb)
    assert smallest(integers) >= smallest(np.rint(relaxed))
    assert smallest(integers) > smallest(relaxed) - 1


def test_smallest_distances_include_the_fixed_ones_but_not_among_themselves() -> None:
    sets = np.array([[[0.0, 0, 0], [255, 0, 0]]])
    fixed = np.array([[0.0, 30, 0], [0, 31, 0]])
    assert smallest_distances(sets, NOTHING, rgb) == pytest.approx([255])
    assert smallest_distances(sets, fixed, rgb) == pytest.approx([30])


def test_squared_distances() -> None:
    points = np.random.default_rng(5).uniform(0, 255, (2, 4, 3))
    wanted = ((points[:, :, None] - points[:, None]) ** 2).sum(-1)
    assert np.allclose(squared_distances(points), wanted, rtol=1e-12, atol=1e-8)


# The published values of the colour space for white and the primaries.
@pytest.mark.parametrize(
    ("color", "lab"),
    [
        ((255, 255, 255), (1.0, 0.0, 0.0)),
        ((255, 0, 0), (0.62796, 0.22486, 0.12585)),
        ((0, 255, 0), (0.86644, -0.23389, 0.17950)),
        ((0, 0, 255), (0.45201, -0.03246, -0.31153)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
    ],
)
def test_oklab(color, lab) -> None:
    assert oklab(np.array(color, np.float64)) == pytest.approx(lab, abs=1e-4)


def test_jacobian_is_the_derivative() -> None:
    levels = np.array([[200.0, 30, 90], [7, 240, 5], [60, 60, 61]])
    assert np.allclose(jacobian(rgb, levels), np.eye(3), atol=1e-12)
    move = np.array([0.3, -0.2, 0.1])
    change = oklab(levels + move) - oklab(levels - move)
    assert np.allclose(jacobian(oklab, levels) @ (2 * move), change, rtol=1e-2, atol=1e-6)
