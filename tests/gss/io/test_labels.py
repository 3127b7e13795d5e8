"""Reading and writing label maps: indices survive, everything ambiguous is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gss.io.images import UnreadableFile, read_image
from gss.io.labels import ColorMask, read_label, rgb_to_labels, write_label
from gss.palette import Palette
from tests.gss.prediction.painted.pngs import png


def test_write_then_read(tmp_path: Path, palette: Palette) -> None:
    labels = torch.tensor([[0, 1, 2], [255, 2, 0]], dtype=torch.uint8)
    write_label(tmp_path / "l.png", labels, palette)
    assert torch.equal(read_label(tmp_path / "l.png", palette), labels)
    with Image.open(tmp_path / "l.png") as image:
        assert image.mode == "P"
        shown = np.array(image.convert("RGB"))
    assert shown[0, 1].tolist() == [0, 255, 0]
    assert shown[1, 0].tolist() == [9, 9, 9]
    assert [file.name for file in tmp_path.iterdir()] == ["l.png"]


@pytest.mark.parametrize("num_classes", [1, 2, 16, 255])
def test_all_palette_sizes_round_trip(tmp_path: Path, num_classes: int) -> None:
    palette = Palette("p", tuple(map(str, range(num_classes))), tuple((k, 0, 1) for k in range(num_classes)))
    labels = torch.arange(num_classes, dtype=torch.uint8)[None]
    write_label(tmp_path / "l.png", labels, palette)
    assert torch.equal(read_label(tmp_path / "l.png"), labels)


def test_grey_and_small_colour_tables_are_indices(tmp_path: Path) -> None:
    ids = np.array([[0, 1], [2, 255]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "grey.png")
    assert read_label(tmp_path / "grey.png").tolist() == ids.tolist()
    small = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8)).convert("P")
    small.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    small.save(tmp_path / "two_bits.png", bits=2)
    assert read_label(tmp_path / "two_bits.png").tolist() == [[0, 1], [2, 3]]


def test_modes_that_change_ids_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    Image.fromarray(np.array([[1, 300]], np.uint16)).save(tmp_path / "deep.png")
    for name in ("bits.png", "deep.png"):
        with pytest.raises(ValueError, match=f"{name}: expected an 8-bit index PNG"):
            read_label(tmp_path / name)


def test_four_bit_grey_is_refused(tmp_path: Path) -> None:
    """Pillow would stretch the stored 0..15 to 0..255."""
    (tmp_path / "four.png").write_bytes(png(np.array([[1, 2]], np.uint8), [0], depth=4))
    with pytest.raises(ValueError, match="stored as L;4"):
        read_label(tmp_path / "four.png")


def test_rgb_mask_is_refused_with_advice(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "m.png")
    with pytest.raises(ColorMask, match="rgb_to_labels") as error:
        read_label(tmp_path / "m.png")
    assert error.value.rgb.shape == (2, 3, 3)


def test_rgb_to_labels(palette: Palette) -> None:
    ids = torch.tensor([[0, 1], [2, 255]], dtype=torch.uint8)
    colors = torch.tensor([*palette.colors, palette.ignore_color], dtype=torch.uint8)
    image = colors[ids.long().clamp(max=3)].permute(2, 0, 1)
    assert torch.equal(rgb_to_labels(image, palette), ids)
    image = image.clone()
    image[:, 0, 0] = torch.tensor([254, 0, 0], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"\(254, 0, 0\): 1 pixels"):
        rgb_to_labels(image, palette)


def test_ids_outside_the_palette(tmp_path: Path, palette: Palette) -> None:
    Image.fromarray(np.array([[3, 0, 200]], np.uint8)).save(tmp_path / "l.png")
    assert read_label(tmp_path / "l.png").tolist() == [[3, 0, 200]]
    with pytest.raises(ValueError, match="class ids 3, 200 are outside the palette 'three'"):
        read_label(tmp_path / "l.png", palette)
    with pytest.raises(ValueError, match="class ids 7 are outside"):
        write_label(tmp_path / "o.png", torch.tensor([[7]], dtype=torch.uint8), palette)
    with pytest.raises(TypeError, match="expected uint8"):
        write_label(tmp_path / "o.png", torch.tensor([[1]]), palette)
    assert not (tmp_path / "o.png").exists()


def test_images_come_as_upright_rgb(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = (10, 20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to view
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "turned.png")
    assert image.shape == (3, 3, 2)
    assert image[:, 0, 1].tolist() == [10, 20, 30]
    Image.new("L", (4, 5), 7).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (3, 5, 4)
    Image.fromarray(np.array([[1, 60000]], np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="8 bits a channel"):
        read_image(tmp_path / "deep.png")


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    for name in ("text.png", "half.png"):
        with pytest.raises(UnreadableFile, match=f"{name}: cannot be read"):
            read_label(tmp_path / name)
        with pytest.raises(UnreadableFile, match=f"{name}: cannot be read"):
            read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_label(tmp_path / "absent.png")
