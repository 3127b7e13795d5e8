"""Palettes to and from colour tables, lists and text, and as pictures."""

import json

import pytest
import torch
from PIL import Image

from gss.io.labels import read_label, write_label
from gss.palette import Palette
from gss.palettes.files import read_palette, write_palette
from gss.palettes.picture import palette_picture

PALETTE = Palette("small", ("road", "traffic light", "sky"), ((1, 2, 3), (250, 0, 9), (0, 0, 255)), (9, 8, 7))


@pytest.mark.parametrize("suffix", [".json", ".png", ".txt"])
def test_round_trip(suffix, tmp_path) -> None:
    write_palette(tmp_path / f"small{suffix}", PALETTE)
    read = read_palette(tmp_path / f"small{suffix}", PALETTE.class_names)
    assert read == PALETTE
    assert [path.name for path in tmp_path.iterdir()] == [f"small{suffix}"]  # nothing temporary is left


def test_names_in_text_and_json(tmp_path) -> None:
    for suffix in (".json", ".txt"):
        write_palette(tmp_path / f"small{suffix}", PALETTE)
        assert read_palette(tmp_path / f"small{suffix}") == PALETTE
    assert (tmp_path / "small.txt").read_text() == "1 2 3 road\n250 0 9 traffic light\n0 0 255 sky\n9 8 7 ignore\n"


def test_text_by_hand(tmp_path) -> None:
    (tmp_path / "p.txt").write_text("# a comment\n\n10 20 30\n 40  50 60   two words \n")
    palette = read_palette(tmp_path / "p.txt")
    assert palette.colors == ((10, 20, 30), (40, 50, 60)) and palette.class_names == ("class 0", "two words")
    assert palette.ignore_color == (0, 0, 0)


def test_shipped_by_name_and_the_first_classes_of_it() -> None:
    assert read_palette("camvid") == Palette.named("camvid")
    first = read_palette("camvid", count=3)
    assert first.class_names == ("sky", "building", "pole") and first.colors == Palette.named("camvid").colors[:3]


@pytest.mark.parametrize("values", [[[1, 2, 3], [4, 5, 6]], [1, 2, 3, 4, 5, 6]])
def test_lists(values, tmp_path) -> None:
    (tmp_path / "list.json").write_text(json.dumps(values))
    palette = read_palette(tmp_path / "list.json")
    assert (palette.name, palette.colors) == ("list", ((1, 2, 3), (4, 5, 6)))


def test_table_of_a_label_map(tmp_path) -> None:
    labels = torch.tensor([[0, 1, 2, 255]], dtype=torch.uint8)
    write_label(tmp_path / "label.png", labels, PALETTE)
    assert read_palette(tmp_path / "label.png", PALETTE.class_names).colors == PALETTE.colors
    write_palette(tmp_path / "table.png", PALETTE)
    assert read_label(tmp_path / "table.png").flatten().tolist() == list(range(256))


def test_table_with_other_colors_after_the_classes(tmp_path) -> None:
    """The usual colour map of 256 entries, of which a data set uses the first ones and the last."""
    image = Image.new("P", (4, 4))
    image.putpalette([channel for k in range(256) for channel in (k, 255 - k, 7)])
    image.save(tmp_path / "map.png")
    palette = read_palette(tmp_path / "map.png", count=21)
    assert palette.num_classes == 21 and palette.colors[20] == (20, 235, 7) and palette.ignore_color == (255, 0, 7)
    assert read_palette(tmp_path / "map.png").num_classes == 255


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[1, 2, 3, 4]", "three numbers a colour, got a list of 4"),
        ("b.json", "{]", "not JSON"),
        ("c.json", "[[1, 2, 300]]", "not a palette"),
        ("d.txt", "1 2 3 a\n1 2 b\n", "line 2: expected 'r g b name', got '1 2 b'"),
        ("e.txt", "1 2 3 a\n1 2 3 b\n", "distinct"),
        ("f.act", "", "ends in .json, .png, .txt"),
    ],
)
def test_wrong_files(name, text, message, tmp_path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_palette(tmp_path / name)
    assert name in str(caught.value)


def test_wrong_tables_and_counts(tmp_path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="expected an index PNG .mode P., which has a colour table, got mode RGB"):
        read_palette(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="camvid: expected at least 12 classes, got 11"):
        read_palette("camvid", count=12)
    with pytest.raises(FileNotFoundError):
        read_palette(tmp_path / "none.json")


def test_text_cannot_hold_every_name(tmp_path) -> None:
    for name in ("ignore", " a", "a\nb"):
        with pytest.raises(ValueError, match="cannot be written as a line"):
            write_palette(tmp_path / "p.txt", Palette("p", (name,), ((1, 2, 3),)))
    assert not list(tmp_path.iterdir())


def test_picture_shows_every_color() -> None:
    for palette in (PALETTE, Palette.named("ade20k"), Palette("one", ("only",), ((77, 88, 99),))):
        picture = palette_picture(palette)
        drawn = {color: count for count, color in picture.getcolors(picture.width * picture.height)}
        # a swatch has 27 x 17 pixels inside its frame, a dot in the cube more than 60
        assert all(drawn[color] >= 27 * 17 for color in palette.colors)
