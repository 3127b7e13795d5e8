"""Every way to give an image means the same image, and every member of a batch gets a name of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gss.io.images import UnreadableFile, to_image, to_images
from gss.model.views.windows import pad_to_alignment

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def test_paths_pillow_images_arrays_and_tensors_give_the_same_image(tmp_path: Path) -> None:
    expected = torch.from_numpy(PIXELS).permute(2, 0, 1)
    picture = Image.fromarray(PIXELS)
    picture.save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), picture, PIXELS, expected):
        image = to_image(source)
        assert torch.equal(image, expected) and image.is_contiguous()
    grey = to_image(PIXELS[..., 0])
    assert torch.equal(grey, expected[:1].expand(3, 4, 6))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pillow_image_is_turned_upright_as_its_file_is(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(PIXELS).save(path, exif=exif)
    with Image.open(path) as opened:
        image = to_image(opened)
    assert image.shape == ((3, 6, 4) if orientation > 4 else (3, 4, 6))
    assert torch.equal(image, to_image(path))


@pytest.mark.parametrize("array", [np.array([[1, 60000]], np.uint16), np.array([[1, 2]], np.int32)])
def test_a_deep_pillow_image_is_refused_as_its_file_is(tmp_path: Path, array: np.ndarray) -> None:
    picture = Image.fromarray(array)
    with pytest.raises(ValueError, match="^image: expected an image of 8 bits a channel, got mode I"):
        to_image(picture)
    picture.save(tmp_path / "deep.tiff")
    with pytest.raises(ValueError, match=r"deep.tiff: expected an image of 8 bits a channel, got mode I"):
        to_image(tmp_path / "deep.tiff")


def test_a_damaged_file_opened_by_pillow_is_refused_as_its_path_is(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    with Image.open(tmp_path / "half.png") as opened, pytest.raises(UnreadableFile, match="^image: cannot be read"):
        to_image(opened)
    with pytest.raises(UnreadableFile, match=r"half.png: cannot be read"):
        to_image(tmp_path / "half.png")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (7, TypeError, "image: expected a path, PIL image, numpy array or tensor, got int"),
        (PIXELS.astype(np.float32), TypeError, "image: expected uint8 values 0..255, got torch.float32"),
        (PIXELS[..., :2], ValueError, r"image: expected an array \(H, W, 3\) or \(H, W\), got \(4, 6, 2\)"),
        (torch.zeros(4, 6, 3, dtype=torch.uint8), ValueError, r"image: expected a tensor \(3, H, W\), got \(4, 6, 3\)"),
        (torch.zeros(3, 0, 6, dtype=torch.uint8), ValueError, "image: expected at least one pixel"),
    ],
)
def test_what_is_no_image_is_refused(source: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        to_image(source)


def test_every_member_of_a_batch_has_a_name(tmp_path: Path) -> None:
    path = tmp_path / "street.png"
    Image.fromarray(PIXELS).save(path)
    images, names, single = to_images([PIXELS, path, Image.fromarray(PIXELS)])
    assert (len(images), names, single) == (3, ["image_000", "street", "image_002"], False)
    _, names, single = to_images(torch.zeros(2, 3, 4, 6, dtype=torch.uint8))
    assert (names, single) == (["image_000", "image_001"], False)
    assert to_images([PIXELS])[1:] == (["image_000"], False)
    assert to_images(PIXELS)[1:] == ([None], True)
    assert to_images(path)[1:] == (["street"], True)


def test_padding_repeats_the_border() -> None:
    image = torch.arange(3 * 5 * 6, dtype=torch.uint8).reshape(1, 3, 5, 6)
    padded = pad_to_alignment(image)
    assert padded.shape == (1, 3, 8, 8) and padded.dtype == torch.uint8
    assert torch.equal(padded[..., :5, :6], image)
    assert torch.equal(padded[..., 5:, :6], image[..., 4:, :].expand(1, 3, 3, 6))
    assert torch.equal(padded[..., 6:], padded[..., 5:6].expand(1, 3, 8, 2))
    aligned = torch.zeros(1, 3, 8, 4, dtype=torch.uint8)
    assert pad_to_alignment(aligned) is aligned


def test_two_paths_of_one_stem_get_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / folder / "street.png")
    paths = [tmp_path / "a" / "street.png", tmp_path / "b" / "street.png"]
    assert to_images(paths)[1] == ["street_000", "street_001"]
