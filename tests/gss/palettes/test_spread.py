"""Colours far apart: known optima, bounds, what the parts of the search keep."""

import math

import numpy as np
import pytest

from gss.palettes import spread
from gss.palettes.descent import relax, smallest_distances, squared_distances
from gss.palettes.integers import to_integers
from gss.palettes.spaces import SPACES, oklab
from gss.palettes.spread import distance_bound, spread_colors
from gss.palettes.starts import checkered_grids, starting_points, thinned

RGB, OKLAB = SPACES["rgb"], SPACES["oklab"]
NOTHING = np.zeros((0, 3))


def smallest(colors: np.ndarray) -> float:
    return min(math.dist(a, b) for i, a in enumerate(colors) for b in colors[:i])


# The largest smallest distances of K points in a unit cube, as far as they are proved or generally believed, times 255:
# sqrt 3, sqrt 2, 1, sqrt 3 / 2, sqrt 2 / 2. Where the optimum needs halves, integers lose up
# to sqrt 3 / 2 of a level.
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
    colors = spread_colors(count, np.random.default_rng(0), fixed=NOTHING, space=RGB)
    assert colors.shape == (count, 3) and colors.dtype == np.int64
    assert colors.min() >= 0 and colors.max() <= 255
    assert 255 * optimum - lost - 1e-9 <= smallest(colors) <= 255 * optimum + 1e-9


# The official palettes have 20.0 and 18.7. The whole search takes 5 s and reaches 59.5 and 55.2.
@pytest.mark.parametrize(("count", "distance"), [(150, 59.0), (194, 55.0)])
def test_many_colors_by_a_short_search(count: int, distance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gss.palettes.starts.STARTS", (4, 4))
    for name, value in {"FIRST_MOVES": 30, "NEXT_MOVES": 60, "HOPS": 1, "HOP_MOVES": 20, "FINALISTS": 1}.items():
        monkeypatch.setattr(spread, name, value)
    monkeypatch.setattr("gss.palettes.integers.SWEEPS", 2)
    colors = spread_colors(count, np.random.default_rng(0), fixed=NOTHING, space=RGB)
    assert distance <= smallest(colors) <= distance_bound(count)


def test_bound_is_above_every_packing_known() -> None:
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


def test_starts_are_in_the_cube() -> None:
    for count in (2, 9, 40):
        starts = starting_points(count, np.random.default_rng(1))
        assert starts.shape[1:] == (count, 3)
        assert starts.min() >= 0 and starts.max() <= 255


def test_thinning_takes_of_the_closest() -> None:
    points = np.array([[0.0, 0, 0], [100, 0, 0], [101, 0, 0], [200, 0, 0]])
    left = thinned(points, 3, np.random.default_rng(0))
    assert left[:, 0].tolist() in ([0, 100, 200], [0, 101, 200])


@pytest.mark.parametrize("space", [RGB, OKLAB])
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
    arguments = {"power": 20.0, "step": 2.0, "fixed": NOTHING, "space": RGB}
    together = relax(starts, 30, **arguments)
    alone = relax(starts[1:], 30, **arguments)
    assert np.abs(together[1] - alone[0]).max() < 1.0  # float32 forces; the matrix product may add in another order


def test_integers_do_not_lose_what_rounding_loses() -> None:
    rng = np.random.default_rng(4)
    relaxed = relax(rng.uniform(0, 255, (1, 16, 3)), 250, power=12.0, step=6.0, fixed=NOTHING, space=RGB)[0]
    integers = to_integers(relaxed, NOTHING, RGB)
    assert smallest(integers) >= smallest(np.rint(relaxed))
    assert smallest(integers) > smallest(relaxed) - 1


def test_smallest_distances_include_the_fixed_ones_but_not_among_themselves() -> None:
    sets = np.array([[[0.0, 0, 0], [255, 0, 0]]])
    fixed = np.array([[0.0, 30, 0], [0, 31, 0]])
    assert smallest_distances(sets, NOTHING, RGB) == pytest.approx([255])
    assert smallest_distances(sets, fixed, RGB) == pytest.approx([30])


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


@pytest.mark.parametrize("space", [RGB, OKLAB])
def test_jacobian_is_the_derivative(space) -> None:
    levels = np.array([[200.0, 30, 90], [7, 240, 5], [60, 60, 61]])
    step = 1e-4
    for channel in range(3):
        shift = np.eye(3)[channel] * step
        slope = (space.points(levels + shift) - space.points(levels - shift)) / (2 * step)
        assert np.allclose(space.jacobian(levels)[..., channel], slope, rtol=1e-5, atol=1e-9)
