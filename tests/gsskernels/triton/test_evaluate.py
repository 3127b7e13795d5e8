"""maskige_evaluate in Triton counts the labels that maskige_decode gives, by every path."""

import math

import pytest
import torch

from gsskernels import maskige_decode, maskige_evaluate
from gsskernels.triton import INTERPRETED, cells, confusion, decode
from tests.gsskernels.inputs import seeded


@pytest.fixture(params=["cells", "brute force"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells for every palette and image, or for none; several tables of counts."""
    monkeypatch.setattr(decode, "FEW_CLASSES", 0 if request.param == "cells" else math.inf)
    monkeypatch.setattr(decode, "WORTH_PREPARING", 0)
    monkeypatch.setattr(confusion, "PIXELS_A_TABLE", 500)
    if INTERPRETED:
        monkeypatch.setattr(cells, "BITS", 3)
        monkeypatch.setattr(cells, "BLOCK_BITS", 3)
        monkeypatch.setattr(decode, "BLOCK", 512)


SIZES = [("vote", (10, 33)), ("vote", (21, 50)), ("vote", (7, 25)), ("rgb", (12, 35)), ("rgb", (10, 33))]


# Every way to the size of the target with the narrowest and the widest ids; one of each kernel with other dtypes.
@pytest.mark.parametrize(
    ("dtype", "resize", "size"),
    [
        *((dtype, *way) for dtype in (torch.uint8, torch.int64) for way in SIZES),
        *((dtype, *way) for dtype in (torch.int8, torch.int16, torch.int32) for way in (SIZES[1], SIZES[3])),
    ],
)
def test_counts(device: torch.device, path: None, dtype: torch.dtype, resize: str, size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, 10, 33, generator=seeded()) * 255
    image[:, :, 3:7] = 200
    image = image.to(device)
    palette = torch.randint(0, 256, (6, 3), generator=seeded()).to(device)
    target = torch.randint(0, 8, (2, *size), generator=seeded(1)).to(dtype)
    target[:, 3:8] = 3
    target[:, 6:7] = 100
    if dtype is not torch.uint8:
        target[:, 1] = -1
    target = target.to(device)
    labels = maskige_decode(image, palette, size=size, resize=resize)
    wide = target.transpose(1, 2).contiguous().transpose(1, 2)
    for view, ignore_index in ((target, 100), (wide, 3), (target[:1].expand(2, *size), -1)):
        got = maskige_evaluate(image, palette, view, ignore_index=ignore_index, resize=resize)
        counted = (view.long() != ignore_index) & (view.long() >= 0) & (view.long() < 6)
        cell = (view.long() * 6 + labels.long())[counted]
        assert torch.equal(got, torch.bincount(cell, minlength=36).view(6, 6))


def test_images_of_every_layout_without_batch_or_with_many(device: torch.device, path: None) -> None:
    palette = torch.randint(0, 256, (5, 3), generator=seeded()).to(device)
    image = (torch.rand(2, 2, 3, 8, 9, generator=seeded()) * 255).to(device)
    target = torch.randint(0, 5, (2, 2, 16, 20), generator=seeded()).to(device)
    for maskige, wanted in ((image, target), (image[0, 0], target[0, 0]), (image.transpose(0, 1), target)):
        for double in (maskige, maskige.double()):
            got = maskige_evaluate(double, palette, wanted)
            assert torch.equal(got, maskige_evaluate(double, palette, wanted, backend="reference"))


def test_more_classes_than_uint8_holds_and_a_single_one(device: torch.device) -> None:
    image = (torch.rand(3, 9, 10, generator=seeded()) * 255).to(device)
    for num_classes in (1, 270):
        palette = torch.randint(0, 256, (num_classes, 3), generator=seeded()).to(device)
        target = torch.randint(0, num_classes + 2, (13, 12), generator=seeded()).to(device)
        got = maskige_evaluate(image, palette, target)
        assert torch.equal(got, maskige_evaluate(image, palette, target, backend="reference"))
        assert maskige_evaluate(image[:, :0], palette, target[:0, :10]).sum() == 0
