"""The cells of Triton: grids of several programs, long palettes, and the classes in their lists."""

import pytest
import torch
from torch import Tensor

from gsskernels import maskige_decode
from gsskernels.triton import cells, decode
from tests.gsskernels.inputs import seeded


def random_palette(num_classes: int, device: torch.device, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (num_classes, 3), generator=seeded(seed)).float().to(device)


def assert_same(maskige: Tensor, palette: Tensor, margin: bool = False) -> None:
    wanted, wall = maskige_decode(maskige, palette, margin=True, backend="reference")
    if not margin:
        assert torch.equal(maskige_decode(maskige, palette), wanted)
        return
    labels, distance = maskige_decode(maskige, palette, margin=True)
    assert torch.equal(labels, wanted)
    torch.testing.assert_close(distance, wall, rtol=2.0**-22, atol=0, equal_nan=True)


def test_grids_of_several_programs(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each program builds a block of cells from the classes that it found for that block."""
    monkeypatch.setattr(decode, "WORTH_PREPARING", 0)
    monkeypatch.setattr(cells, "BITS", 2)
    monkeypatch.setattr(cells, "BLOCK_BITS", 1)
    image = (torch.rand(3, 40, 50, generator=seeded()) * 255).to(device)
    for margin in (False, True):
        assert_same(image, random_palette(40, device), margin=margin)


def test_a_palette_longer_than_a_chunk_and_one_too_long_for_cells(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "WORTH_PREPARING", 0)
    monkeypatch.setattr(cells, "BITS", 1)
    monkeypatch.setattr(cells, "BLOCK_BITS", 1)
    image = (torch.rand(3, 10, 10, generator=seeded()) * 255).to(device)
    clustered = torch.cat([torch.rand(515, 3, generator=seeded()) * 9, random_palette(5, torch.device("cpu")) + 20])
    assert_same(image, clustered.to(device), margin=True)
    monkeypatch.setattr(cells, "MOST_CLASSES", 519)
    assert decode.prepare(clustered, 2**30, margin=True) is None
    assert_same(image, clustered.to(device))


def test_what_chooses_the_path(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    monkeypatch.setattr(decode, "build_cells", lambda colors, order: built.append(order))
    decode.prepare(random_palette(decode.FEW_CLASSES, device), 2**30, margin=False)
    decode.prepare(random_palette(19, device), decode.WORTH_PREPARING // 20, margin=False)
    assert built == []
    decode.prepare(random_palette(19, device), decode.WORTH_PREPARING // 19 + 1, margin=False)
    decode.prepare(random_palette(19, device), decode.WORTH_PREPARING // 19 + 1, margin=True)
    assert built == [1, 2]


@pytest.mark.parametrize("margin", [False, True])
def test_lists_hold_every_class_that_float64_can_find(
    device: torch.device, margin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of a cell against the nearest, or two nearest, classes at random points of it and at its corners."""
    monkeypatch.setattr(cells, "BITS", 2)
    monkeypatch.setattr(cells, "BLOCK_BITS", 2)
    colors = random_palette(25, device, seed=3)
    found = cells.build_cells(colors, 2 if margin else 1)
    heads, lists = found.cells[:64].long() & 0xFFFF, found.cells[64:].view(64, 16)
    position = torch.rand(64, 200, 3, generator=seeded(), dtype=torch.float64)
    position[:, :8] = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    corner = torch.cartesian_prod(*[torch.arange(4)] * 3)[:, None]
    pixels = (corner + position).to(device) / found.grid[3:].double() + found.grid[:3].double()
    nearest = (pixels[:, :, None] - colors.double()).square().sum(-1).topk(2 if margin else 1, largest=False).indices
    for cell in range(64):
        count = int(heads[cell]) & 15
        listed = lists[cell, :count].tolist()
        assert listed == sorted(set(listed))
        assert count == 0 or set(nearest[cell].flatten().tolist()) <= set(listed)
        assert count == 0 or int(heads[cell]) >> 4 in listed
    assert int((heads & 15 > 0).sum()) > 40  # a grid whose lists all overflow would prove nothing
