"""gss palette: show, fit and convert from the command line."""

import json
import math
import subprocess
import sys

import pytest
from PIL import Image

from gss.cli import main
from gss.palette import Palette
from gss.palettes.files import write_palette


@pytest.fixture(autouse=True)
def short_search(monkeypatch):
    monkeypatch.setattr("gss.palettes.starts.STARTS", (8, 8))
    monkeypatch.setattr("gss.palettes.spread.NEXT_MOVES", 200)


def run(*arguments: object) -> int:
    return main(["palette", *map(str, arguments)])


def test_show_tells_margins_and_the_closest_pairs(capsys, tmp_path):
    write_palette(tmp_path / "p.json", Palette("p", ("a", "b", "c"), ((0, 0, 0), (30, 40, 0), (200, 0, 0))))
    assert run("show", tmp_path / "p.json") == 0
    text = capsys.readouterr().out
    assert "25.0" in text and "closest: a and b, 50.0 levels apart" in text and "b and c, 174.6 levels apart" in text
    assert run("show", tmp_path / "p.json", "--json", "-") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["margins"] == [25.0, 25.0, pytest.approx(math.dist((30, 40, 0), (200, 0, 0)) / 2)]
    assert values["min_distance"] == 50.0 and values["closest"] == [0, 1]


def test_show_names_every_class_and_lists_the_palettes(capsys):
    assert run("show", "scenes") == 0
    text, palette = capsys.readouterr().out, Palette.named("scenes")
    red, green, blue = palette.colors[0]
    assert all(name in text for name in palette.class_names) and f"#{red:02x}{green:02x}{blue:02x}" in text
    assert run("show") == 0
    assert "camvid" in capsys.readouterr().out.split()
    assert run("show", "camvid", "--json", "-") == 0
    assert len(json.loads(capsys.readouterr().out)["colors"]) == 11


def test_show_draws(capsys, tmp_path):
    assert run("show", "camvid", "--out", tmp_path / "camvid.png") == 0
    assert str(tmp_path / "camvid.png") in capsys.readouterr().out
    with Image.open(tmp_path / "camvid.png") as image:
        assert image.mode == "RGB" and min(image.size) > 400


def test_fit_a_number_of_classes(capsys, tmp_path):
    out, report = tmp_path / "eight.json", tmp_path / "report.json"
    assert run("fit", "--classes", 8, "--out", out, "--json", report) == 0
    assert "8 colours, at least 255.0 levels apart" in capsys.readouterr().out
    rows = json.loads(out.read_text())["colors"]
    assert sorted(rows) == [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    values = json.loads(report.read_text())
    assert values["min_distance"] == 255.0 and values["bound"] > 255 and values["classes"] == 8
    first = out.read_bytes()
    assert run("fit", "--classes", 8, "--out", out, "--seed", 0) == 0
    assert out.read_bytes() == first


def test_fit_names_and_the_classes_of_another_palette(capsys, tmp_path):
    (tmp_path / "names.txt").write_text("road\ntraffic light\n\nsky\n")
    assert run("fit", "--classes", tmp_path / "names.txt", "--out", tmp_path / "a.json") == 0
    assert Palette.load(tmp_path / "a.json").class_names == ("road", "traffic light", "sky")
    assert run("fit", "--like", "scenes", "--out", tmp_path / "b.json", "--away-from-ignore") == 0
    palette, scenes = Palette.load(tmp_path / "b.json"), Palette.named("scenes")
    assert palette.class_names == scenes.class_names and palette.ignore_color == scenes.ignore_color
    assert min(math.dist(color, palette.ignore_color) for color in palette.colors) > 210
    assert "scenes: 179.6 levels" in capsys.readouterr().out


def test_fit_in_oklab(tmp_path):
    assert run("fit", "--classes", 3, "--space", "oklab", "--out", tmp_path / "p.json") == 0
    assert Palette.load(tmp_path / "p.json").num_classes == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "1"], "expected a number from 2 to 255"),
        (["--classes", "256"], "expected a number from 2 to 255"),
        (["--classes", "missing.txt"], "a text file with a class name a line, got 'missing.txt'"),
        (["--like", "no-such-palette"], "no-such-palette"),
    ],
)
def test_fit_refuses(arguments, message, capsys, tmp_path):
    assert run("fit", *arguments, "--out", tmp_path / "p.json") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize("arguments", [["--out", "p.json"], ["--classes", "3"], ["--classes", "3", "--out", "p.txt"]])
def test_fit_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run("fit", *arguments)
    assert stop.value.code == 2


def test_convert(capsys, tmp_path):
    table, text, back = tmp_path / "t.png", tmp_path / "t.txt", tmp_path / "t.json"
    assert run("convert", "cityscapes", table) == 0
    (tmp_path / "names.txt").write_text("\n".join(Palette.named("cityscapes").class_names))
    assert run("convert", table, text, "--classes", tmp_path / "names.txt") == 0
    assert run("convert", text, back) == 0
    assert "19 classes" in capsys.readouterr().out
    assert Palette.load(back).colors == Palette.named("cityscapes").colors
    assert Palette.load(back).class_names == Palette.named("cityscapes").class_names
    assert run("convert", text, tmp_path / "t.act") == 1
    assert run("convert", text, back, "--classes", 4) == 0
    assert Palette.load(back).num_classes == 4


def test_fit_imports_neither_torch_nor_transformers(tmp_path):
    statement = (
        "import sys, gss.palettes.starts, gss.cli; gss.palettes.starts.STARTS = (4, 4); "
        f"code = gss.cli.main(['palette', 'fit', '--classes', '2', '--out', {str(tmp_path / 'p.json')!r}]); "
        "print(code, sorted({'torch', 'transformers', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
