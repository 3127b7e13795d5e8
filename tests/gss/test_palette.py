"""Palettes: what ships, JSON round trips, and errors that name the argument."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
import torch

from gss.palette import Palette, get_palette, palette_names
from gss.palettes.files import write_palette


# The published colours are 20.0, 20.02 and 18.68 apart; ours are corners and face centres of the cube.
@pytest.mark.parametrize(
    ("name", "num_classes", "distance", "pair"),
    [
        ("camvid", 11, math.sqrt(2 * 127**2), None),
        ("scenes", 8, math.sqrt(2 * 127**2), None),
        ("cityscapes", 19, 20.0, (15, 16)),
        ("ade20k", 150, math.sqrt(401), (98, 103)),
        ("mseg", 194, math.sqrt(349), (46, 47)),
    ],
)
def test_shipped_palettes(name: str, num_classes: int, distance: float, pair: tuple[int, int] | None) -> None:
    palette = Palette.named(name)
    assert name in palette_names() and palette.name == name
    assert palette.num_classes == num_classes == len(palette.class_names)
    assert all(label == label.strip() for label in palette.class_names)
    assert palette.ignore_index == 255
    assert palette.ignore_color not in palette.colors
    found, indices = palette.min_distance()
    assert found == pytest.approx(distance)
    assert pair is None or indices == pair


@pytest.mark.parametrize("name", ["camvid", "scenes"])
def test_own_colours_keep_away_from_ignore(name: str) -> None:
    palette = Palette.named(name)
    assert min(math.dist(color, palette.ignore_color) for color in palette.colors) > 180


def test_class_order_of_camvid_and_scenes() -> None:
    assert Palette.named("camvid").class_names == (
        "sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car", "pedestrian", "bicyclist",
    )  # fmt: skip
    scenes = "sky building road pavement tree car pole person"
    assert Palette.named("scenes").class_names == tuple(scenes.split())


def test_same_class_same_colour_in_camvid_and_scenes() -> None:
    camvid, scenes = Palette.named("camvid"), Palette.named("scenes")
    ours = dict(zip(camvid.class_names, camvid.colors, strict=True))
    for name, color in zip(scenes.class_names, scenes.colors, strict=True):
        assert ours["pedestrian" if name == "person" else name] == color


def test_tensor() -> None:
    palette = Palette("p", ("a", "b"), ((1, 2, 3), (250, 0, 9)))
    assert palette.tensor().dtype == torch.uint8
    assert palette.tensor().tolist() == [[1, 2, 3], [250, 0, 9]]
    assert palette.tensor(torch.float32).tolist() == [[1.0, 2.0, 3.0], [250.0, 0.0, 9.0]]


def test_json_round_trip(tmp_path) -> None:
    palette = Palette("naïve", ("a b", "c"), ((0, 0, 0), (1, 1, 1)), ignore_color=(9, 8, 7))
    write_palette(tmp_path / "p.json", palette)
    assert Palette.load(tmp_path / "p.json") == palette
    written = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    assert set(written) == {"name", "classes", "colors", "ignore_color", "ignore_index"}
    assert [file.name for file in tmp_path.iterdir()] == ["p.json"]


def test_only_colors_are_required(tmp_path) -> None:
    (tmp_path / "mine.json").write_text('{"colors": [[1, 2, 3], [4, 5, 6]]}')
    palette = get_palette(tmp_path / "mine.json")
    assert palette.name == "mine"
    assert palette.class_names == ("class 0", "class 1")
    assert palette.ignore_color == (0, 0, 0)


def test_one_class_has_no_closest_pair() -> None:
    assert Palette("one", ("a",), ((1, 2, 3),)).min_distance() == (math.inf, (0, 0))


def test_get_palette() -> None:
    assert get_palette("camvid") == Palette.named("camvid")
    assert get_palette(Palette.named("camvid")) is not None
    with pytest.raises(ValueError, match="expected one of .*camvid.* got 'camvit'"):
        get_palette("camvit")
    with pytest.raises(ValueError, match="expected one of"):
        Palette.named("../palettes/camvid")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "expected a mapping"),
        ('{"classes": ["a"]}', "'colors'.*missing"),
        ('{"colours": [[1, 2, 3]]}', "unknown key 'colours'"),
        ('{"colors": [[1, 2]]}', r"colors\[0\]: expected three integers"),
        ('{"colors": [[1, 2, 256]]}', r"colors\[0\]"),
        ('{"colors": [[0.5, 0.5, 0.5]]}', r"colors\[0\]"),
        ('{"colors": "red"}', "colors: expected a list"),
        ('{"colors": [[1, 2, 3]], "classes": ["a", "b"]}', "one name a colour"),
        ('{"colors": [[1, 2, 3], [1, 2, 3]]}', "colors: expected distinct values, but 0 and 1"),
        ('{"colors": []}', "1 to 255 colours, got 0"),
        ('{"colors": [[1, 2, 3]], "ignore_index": 0}', "ignore_index: expected 255"),
        ("{", "not a palette"),
    ],
)
def test_broken_files(tmp_path, text: str, message: str) -> None:
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        Palette.load(tmp_path / "broken.json")
    assert "broken.json" in str(error.value)


def test_import_is_cheap() -> None:
    code = "import sys, gss.palette; gss.palette.Palette.named('camvid'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
