"""Fitted palettes: what the arguments do, and which class gets which colour."""

import itertools
import math

import numpy as np
import pytest

from gss.palettes.assign import assign_colors, blend_cost, distance_cost, goal_cost, pair_report, pair_weights
from gss.palettes.counts import read_counts
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
        ({"classes": 3, "goal": "near"}, ValueError, "goal: expected one of distance, blend, got 'near'"),
        ({"classes": 3, "weights": np.zeros((2, 2))}, ValueError, r"expected one row and column a class \(3, 3\)"),
        ({"classes": 2, "weights": np.array([[0, 1], [0, 0]])}, ValueError, "symmetric"),
        ({"classes": 2, "weights": np.ones((2, 2))}, ValueError, "zero diagonal"),
        ({"classes": 2, "weights": -np.ones((2, 2))}, ValueError, "at least 0"),
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


def test_pair_weights() -> None:
    counts = np.array(
        [[6, 2, 0], [1, 0, 1], [0, 0, 0]]
    )  # rows: 1/4 of class 0 is taken for 1; half of 1 for each other
    weights = pair_weights(counts)
    assert weights == pytest.approx(np.array([[0, 0.75, 0], [0.75, 0, 0.5], [0, 0.5, 0]]) / 2.5)
    for wrong, message in (
        (np.ones((2, 3)), "square"),
        (-np.ones((2, 2)), "at least 0"),
        (np.full((2, 2), np.nan), "finite"),
        (np.eye(3), "pair of different classes"),
    ):
        with pytest.raises(ValueError, match=message):
            pair_weights(wrong)


def test_distance_cost() -> None:
    points = np.array([[0, 0, 0], [3, 4, 0], [0, 0, 10.0]])
    assert distance_cost(points) == pytest.approx(np.array([[0, 1, 0.25], [1, 0, 0.2], [0.25, 0.2, 0]]))


def test_blend_cost() -> None:
    colors = np.array([[0, 0, 0], [80, 0, 0], [160, 0, 0]])
    cost = blend_cost(colors)
    # Of the 15 blends of the outer two on the line, 7 are nearer to the middle one, 2 as near to it as to an end.
    assert 7 / 15 <= cost[0, 2] <= 9 / 15
    cost[0, 2] = cost[2, 0] = 0
    assert not cost.any()
    assert np.array_equal(
        goal_cost("blend", colors, colors), blend_cost(colors) + 0.1 * distance_cost(colors)
    ) and np.array_equal(goal_cost("distance", colors, colors), distance_cost(colors))


def test_assignment_is_the_best_of_all_orders() -> None:
    rng = np.random.default_rng(0)
    for goal in ("distance", "blend"):
        colors = rng.integers(0, 256, (6, 3))
        weights = pair_weights(rng.integers(0, 50, (6, 6)))
        cost = goal_cost(goal, colors, colors)
        order = assign_colors(cost, weights, rng)
        assert sorted(order.tolist()) == list(range(6))
        totals = [(weights * cost[np.ix_(order, order)]).sum() for order in itertools.permutations(range(6))]
        assert (weights * cost[np.ix_(order, order)]).sum() == pytest.approx(min(totals))


def test_weights_move_the_order_and_nothing_else() -> None:
    counts = np.zeros((9, 9))
    counts[0, 1] = counts[2, 3] = 100  # four pairs of corners are a diagonal apart; two pairs want to be
    counts[4, 5] = 1
    weights = pair_weights(counts)
    plain, fitted = fit_palette(9), fit_palette(9, weights=weights, goal="distance")
    assert set(plain.colors) == set(fitted.colors) and plain.ignore_color == fitted.ignore_color
    assert plain.colors != fitted.colors
    assert math.dist(fitted.colors[0], fitted.colors[1]) == pytest.approx(255 * math.sqrt(3))
    assert math.dist(fitted.colors[2], fitted.colors[3]) == pytest.approx(255 * math.sqrt(3))
    before, after = (pair_report(np.array(p.colors), np.array(p.colors), weights) for p in (plain, fitted))
    assert after.mean_distance > before.mean_distance
    assert after.smallest_distance == pytest.approx(255 * math.sqrt(3))


def test_the_goal_blend_leaves_nothing_between_touching_classes() -> None:
    weights = pair_weights(np.eye(9, k=1))  # each class touches the next one
    reports = {}
    for goal in ("distance", "blend"):
        palette = fit_palette(9, weights=weights, goal=goal)  # the corners of the cube and its middle
        reports[goal] = pair_report(np.array(palette.colors), np.array(palette.colors), weights)
    assert reports["blend"].blended_away == 0 < reports["distance"].blended_away
    assert reports["distance"].mean_distance > reports["blend"].mean_distance


def test_pair_report() -> None:
    points = np.array([[0, 0, 0], [5, 0, 0], [2.5, 0, math.sqrt(36 - 2.5**2)]])
    weights = np.array([[0, 6, 3], [6, 0, 1], [3, 1, 0]])
    found = pair_report(points, points, weights)
    assert found.mean_distance == pytest.approx((6 * 5 + 3 * 6 + 1 * 6) / 10)
    assert found.smallest_distance == 5  # the pair (0, 1) has more than half of the weight
    assert found.blended_away == 0
    weights[0, 1] = weights[1, 0] = 0
    assert pair_report(points, points, weights).smallest_distance == pytest.approx(6)


def test_reading_counts(tmp_path) -> None:
    rows = [[5, 1], [2, 7]]
    np.save(tmp_path / "a.npy", np.array(rows))
    (tmp_path / "b.json").write_text("[[5, 1], [2, 7]]")
    (tmp_path / "c.json").write_text('{"mIoU": 0.5, "confusion": [[5, 1], [2, 7]]}')
    for name in ("a.npy", "b.json", "c.json"):
        assert read_counts(tmp_path / name, 2).tolist() == rows
    (tmp_path / "d.json").write_text('{"mIoU": 0.5}')
    (tmp_path / "e.json").write_text("[[5, 1], [2]]")
    (tmp_path / "f.json").write_text("[[5,")
    for name, message in (
        ("a.npy", r"expected a matrix \(3, 3\), got shape \(2, 2\)"),
        ("d.json", 'the key "confusion"'),
        ("e.json", "not a matrix of numbers"),
        ("f.json", "not a matrix of numbers"),
        ("g.csv", "NAME.npy or NAME.json"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            read_counts(tmp_path / name, 3)
        assert name in str(caught.value)
    with pytest.raises(FileNotFoundError):
        read_counts(tmp_path / "none.json", 2)
