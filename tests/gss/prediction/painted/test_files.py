"""From file to file: the same labels as in memory, whole files or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gss
from gss.io.images import UnreadableFile
from gss.io.labels import read_label
from gss.palette import Palette
from gss.prediction.painted import picture as picture_module
from gss.prediction.painted.files import decode_file

PALETTE = Palette("three", ("red", "green", "blue"), ((200, 0, 0), (0, 200, 0), (0, 0, 200)), (255, 255, 255))
NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


@pytest.fixture
def painted(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(picture_module, "BAND_PIXELS", 7 * 30)
    path = tmp_path / "in" / "painted.png"
    path.parent.mkdir()
    Image.fromarray(NOISE).save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_labels_margins_and_counts_are_those_in_memory(painted: Path, tmp_path: Path, suffix: str, reader: str) -> None:
    expected = gss.decode(NOISE, PALETTE)
    assert expected.margin is not None
    painted = painted.with_suffix(f".{suffix}")
    Image.fromarray(NOISE).save(painted)
    seen: list[tuple[int, int]] = []
    labels = tmp_path / f"labels.{suffix}"
    for name in ("margin.npy", f"margin.{suffix}"):
        summary = decode_file(painted, PALETTE, labels, margin=tmp_path / name, progress=lambda *p: seen.append(p))
    assert torch.equal(read_label(labels, PALETTE), expected.labels)
    if not (suffix == "tif" and reader == "libvips"):  # which is grey
        with Image.open(labels) as image:
            table = np.array([*PALETTE.colors, *[PALETTE.ignore_color] * 253], np.uint8)
            np.testing.assert_array_equal(np.array(image.convert("RGB")), table[expected.labels.numpy()])
    np.testing.assert_array_equal(np.load(tmp_path / "margin.npy"), expected.margin.numpy())
    with Image.open(tmp_path / f"margin.{suffix}") as image:
        np.testing.assert_array_equal(np.array(image), expected.margin.round().numpy())
    counts = torch.bincount(expected.labels.flatten().long(), minlength=256).tolist()
    assert (summary.height, summary.width) == (40, 30)
    assert summary.pixels == tuple(counts[:3]) and summary.ignored == counts[255] > 0
    assert summary.unknown == expected.unknown and summary.unknown.pixels > 1000
    assert seen[:6] == [(7, 40), (14, 40), (21, 40), (28, 40), (35, 40), (40, 40)]


def test_margins_that_a_byte_cannot_hold_are_255(tmp_path: Path) -> None:
    Image.new("RGB", (2, 1), (255, 255, 255)).save(tmp_path / "white.png")
    near = Palette("near", ("darkest", "dark"), ((0, 0, 0), (1, 1, 1)))  # white is 441 levels from the wall
    one = Palette("one", ("black",), ((0, 0, 0),))  # there is no wall
    for palette in (near, one):
        decode_file(tmp_path / "white.png", palette, tmp_path / "l.png", margin=tmp_path / "m.png", ignore_color=False)
        with Image.open(tmp_path / "m.png") as image:
            assert np.array(image).tolist() == [[255, 255]]


@pytest.mark.parametrize("fault", ["damage", "strict", "interrupt"])
def test_nothing_is_left_after_a_failure(painted: Path, tmp_path: Path, fault: str) -> None:
    if fault == "damage":
        data = bytearray(painted.read_bytes())
        data[-20] ^= 1  # in the checksums at its end, long after the first bands were written
        painted.write_bytes(data)

    def progress(done: int, total: int) -> None:
        if fault == "interrupt" and done > 20:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises((UnreadableFile, ValueError, KeyboardInterrupt)):
        decode_file(painted, PALETTE, out / "l.png", margin=out / "m.npy", strict=fault == "strict", progress=progress)
    assert list(out.glob("*")) == []


def test_targets_are_checked(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels: expected a file of suffix .png, .tif, .tiff, got l.jpg"):
        decode_file(painted, PALETTE, "l.jpg")
    with pytest.raises(ValueError, match="margin: expected a file of suffix .png, .tif, .tiff, .npy, got m.jpg"):
        decode_file(painted, PALETTE, "l.png", margin="m.jpg")
    for labels, margin in ((painted, None), (tmp_path / "a.png", tmp_path / "in" / ".." / "a.png")):
        with pytest.raises(ValueError, match="labels, margin: expected files of different names"):
            decode_file(painted, PALETTE, labels, margin=margin)
    with pytest.raises(ValueError, match="palette: expected one of"):
        decode_file(painted, "no-such-palette", tmp_path / "l.png")
