"""gss decode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gss.cli import main
from gss.palette import Palette
from gss.palettes.files import write_palette

PALETTE = Palette("two", ("left", "right"), ((200, 0, 0), (0, 0, 200)))
LABELS = np.array([[0, 1, 255, 0]], np.uint8).repeat(3, 0)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    picture = np.array([*PALETTE.colors, *[PALETTE.ignore_color] * 254], np.uint8)[LABELS]
    picture[2, 3] = (0, 250, 0)
    Image.fromarray(picture).save(tmp_path / "painted.png")
    write_palette(tmp_path / "palette.json", PALETTE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*options: str) -> int:
    return main(["decode", "painted.png", "--palette", "palette.json", "--out", "labels.png", *options])


def test_labels_margin_and_what_is_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--margin") == 0
    out = capsys.readouterr().out
    words = [line.split() for line in out.splitlines()]
    assert ["left", "5", "41.67%"] in words and ["right", "3", "25.00%"] in words
    assert ["ignored", "(255)", "4", "33.33%"] in words, "green is nearest to black"
    assert "unknown: 1 pixels (8.33%) in 1 colours are farther than 16 levels" in out
    assert ["#00fa00", "1"] in words
    assert out.splitlines()[-2:] == ["labels.png", "labels_margin.png"]
    labels = np.array(Image.open("labels.png"))
    expected = LABELS.copy()
    expected[2, 3] = 255
    np.testing.assert_array_equal(labels, expected)
    margin = np.array(Image.open("labels_margin.png"))
    assert margin[0].tolist() == [100, 100, 100, 100]


def test_json_and_a_margin_of_its_own_name(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--margin", "sure.npy", "--no-ignore-color", "--unknown-tolerance", "300", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out) == {
        "labels": "labels.png",
        "margin": "sure.npy",
        "height": 3,
        "width": 4,
        "pixels": {"left": 9, "right": 3},
        "ignored": 0,
        "unknown": {"tolerance": 300.0, "pixels": 1, "distinct": 1, "colors": [{"color": [0, 250, 0], "pixels": 1}]},
    }
    assert np.load("sure.npy").shape == (3, 4)


def test_tiffs(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.open("painted.png").save("painted.tif")
    command = ["decode", "painted.tif", "--palette", "palette.json", "--out", "labels.tif", "--margin"]
    assert main(command) == run("--margin") == 0
    for name in ("labels", "labels_margin"):
        np.testing.assert_array_equal(np.array(Image.open(f"{name}.tif")), np.array(Image.open(f"{name}.png")))


def test_strict_writes_nothing_and_names_the_colours(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--strict", "--margin") == 1
    error = capsys.readouterr().err
    assert error.startswith("gss: error: painted.png: colours that are not in the palette 'two': 1 pixels farther than")
    assert "(0, 250, 0): 1 pixels" in error
    assert sorted(file.name for file in files.iterdir()) == ["painted.png", "palette.json"]
    assert run("--strict", "--unknown-tolerance", "321") == 0


def test_grey_values(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(LABELS).save("painted.png")
    assert run() == 0
    np.testing.assert_array_equal(np.array(Image.open("labels.png")), LABELS)
    Image.fromarray(LABELS // 2).save("painted.png")
    assert run() == 1
    assert "grey values 127 are no class ids of the palette 'two' (0..1" in capsys.readouterr().err
    assert run("--grey", "colors") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "labels.jpg"], "--out: expected a file of suffix .png, .tif, .tiff, got 'labels.jpg'"),
        (["--margin", "m.jpg"], "--margin: expected a file of suffix .png, .tif, .tiff, .npy, got 'm.jpg'"),
        (["--margin", "painted.png/m.png"], "--margin: expected a folder to write to, but painted.png is a file"),
        (["--unknown-tolerance", "-1"], "--unknown-tolerance: expected a number of levels of at least 0, got '-1'"),
        (["--unknown-tolerance", "few"], "--unknown-tolerance: expected a number of levels of at least 0, got 'few'"),
        (["--grey", "rgb"], "--grey: invalid choice: 'rgb'"),
    ],
)
def test_wrong_usage(files: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        run(*options)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_transformers_is_not_imported(files: Path) -> None:
    """It costs seconds, which a picture does not."""
    code = (
        "import sys; from gss.cli import main\n"
        "try: main(['decode', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules\n"
        "assert main(['decode', 'painted.png', '--palette', 'palette.json', '--out', 'l.png', '--margin']) == 0\n"
        "assert 'torch' in sys.modules and 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
