"""maskige_decode in Triton, by cells and by brute force: labels bit for bit against the reference.

The interpreter takes a tenth of a millisecond for every operation of every program, so there grids are coarser and
blocks longer than on a GPU; neither changes what must come out.
"""

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import maskige_decode
from gsskernels.triton import INTERPRETED, cells, decode
from tests.gsskernels.inputs import INF, NAN, seeded

HUGE = torch.finfo(torch.float32).max


def random_palette(num_classes: int, device: torch.device, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (num_classes, 3), generator=seeded(seed)).float().to(device)


@pytest.fixture(params=["cells", "brute force"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Cells for every palette and image, or for none."""
    by_cells = request.param == "cells"
    monkeypatch.setattr(decode, "FEW_CLASSES", 0 if by_cells else math.inf)
    monkeypatch.setattr(decode, "WORTH_PREPARING", 0)
    if INTERPRETED:
        monkeypatch.setattr(cells, "BITS", 3)
        monkeypatch.setattr(cells, "BLOCK_BITS", 3)
        monkeypatch.setattr(decode, "BLOCK", 2048)
    yield request.param


def assert_same(maskige: Tensor, palette: Tensor, **options: object) -> None:
    """Labels equal in every bit; margins within a rounding or two, and a few more where they are resized."""
    wanted = maskige_decode(maskige, palette, backend="reference", **options)
    got = maskige_decode(maskige, palette, **options)
    if not options.get("margin"):
        assert got.dtype == wanted.dtype and torch.equal(got, wanted)
        return
    assert torch.equal(got[0], wanted[0])
    if options.get("size") is None:
        torch.testing.assert_close(got[1], wanted[1], rtol=2.0**-22, atol=0, equal_nan=True)
    else:
        # Neighbours' weights carry a rounding of the coordinate: coordinates below 64 have a spacing of 2^-18.
        largest = wanted[1][wanted[1].isfinite()].max() if wanted[1].isfinite().any() else 1.0
        torch.testing.assert_close(got[1], wanted[1], rtol=1e-6, atol=float(largest) * 2.0**-18)


# Label dtypes change after 255, lists of cells overflow at many; without margins lists are of the first order.
@pytest.mark.parametrize(
    ("num_classes", "margin"),
    [*((k, True) for k in (1, 2, 3, 19, 150, 255, 256, 300)), (2, False), (19, False), (256, False)],
)
def test_class_counts(device: torch.device, path: str, num_classes: int, margin: bool) -> None:
    image = (torch.rand(3, 37, 41, generator=seeded()) * 320 - 30).to(device)  # some outside the grid
    assert_same(image, random_palette(num_classes, device), margin=margin)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_and_strides(device: torch.device, path: str, dtype: torch.dtype) -> None:
    image = (torch.rand(2, 3, 4, 20, generator=seeded()) * 255).to(dtype).to(device)
    views = (
        image,
        image.contiguous(memory_format=torch.channels_last),
        image.transpose(-1, -2),
        image[..., 1:, ::2],
        image[:, :, :1].expand(2, 3, 5, 20),
        image[:, :1].expand(2, 3, 4, 20),
        image[:1].expand(3, 3, 4, 20),
        image[..., :1],
        image.permute(1, 0, 2, 3)[:, None].expand(3, 2, 2, 4, 20).transpose(0, 2),
    )
    palette = random_palette(6, device)
    for view in views if dtype is torch.float32 else views[:3]:  # strides have nothing to do with the dtype
        assert_same(view, palette, margin=True)
    assert_same(views[1], palette.to(torch.int64), size=(7, 15))
    assert_same(views[2], palette.to(torch.float64).t().contiguous().t(), size=(9, 28), margin=True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 5), (1, 255), (1, 257), (2, 300), (20, 5)])
def test_blocks_of_lines(
    device: torch.device, path: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "BLOCK", 256)
    image = (torch.rand(2, 3, *shape, generator=seeded()) * 255).to(device)
    assert_same(image, random_palette(5, device), margin=True)
    assert_same(image[..., :2], random_palette(5, device))


def test_one_color_everywhere_and_smooth_images(device: torch.device, path: str) -> None:
    """For blocks whose pixels all lie in cells with one candidate, the heads are the answer."""
    palette = random_palette(12, device)
    assert_same(palette[5][:, None, None].expand(3, 20, 30), palette)
    assert_same(palette[5][:, None, None].expand(3, 20, 30), palette, margin=True)
    corners = torch.rand(1, 3, 3, 3, generator=seeded()).to(device) * 255
    assert_same(F.interpolate(corners, (40, 60), mode="bilinear", align_corners=True), palette, margin=True)


# Cells are cut every 4 (or, interpreted, 32) units from -0.5, and walls between integer colours pass through many half
# integers: ties and cell borders coincide there, so a class left out wrongly would show.
@pytest.mark.parametrize("step", [1.0, 0.5])
def test_ties_on_a_lattice(device: torch.device, path: str, step: float) -> None:
    palette = (torch.cartesian_prod(*[torch.arange(3)] * 3) * 102).float().flip(0).to(device)
    axis = torch.arange(0, 32, step)
    image = torch.stack(torch.meshgrid(axis + 70, axis, indexing="ij") + (torch.full((len(axis),) * 2, 127.5),))
    assert_same(image.to(device), palette, margin=True)
    half = (image - 0.5).nextafter(torch.tensor(INF)).to(device)
    assert_same(half, palette)


def test_equal_and_close_colors(device: torch.device, path: str) -> None:
    palette = random_palette(6, device).repeat(3, 1)[torch.randperm(18, generator=seeded())]
    palette[::7] = palette[3] + torch.rand(3, 3, generator=seeded()).to(device) * 1e-3
    image = (torch.rand(3, 60, 31, generator=seeded()) * 255).to(device)
    image[:, :20] = palette[3][:, None, None] + torch.randn(3, 20, 31, generator=seeded()).to(device) * 1e-3
    assert_same(image, palette, margin=True)
    assert_same(image, palette)
    assert_same(image, torch.full((20, 3), 7.0, device=device), margin=True)
    assert_same(image / 255 + 3, torch.full((20, 3), 3.5, device=device), margin=True)  # a box without extent


def test_lists_that_overflow(device: torch.device, path: str) -> None:
    """More colours in a cell than a list holds: brute force there, lists elsewhere."""
    palette = torch.cat([torch.rand(20, 3, generator=seeded()) * 2 + 100, random_palette(6, torch.device("cpu"))])
    image = torch.rand(3, 30, 31, generator=seeded()) * 255
    image[:, :10] = torch.rand(3, 10, 31, generator=seeded()) * 2 + 100
    assert_same(image.to(device), palette.to(device), margin=True)
    assert_same(image.to(device), palette.to(device))


@pytest.mark.parametrize("low, high", [(0, 1), (-1, 1), (1e6, 1e6 + 50), (-3e-3, 2e-3), (0, 1e12), (1e-20, 3e-20)])
def test_other_units(device: torch.device, path: str, low: float, high: float) -> None:
    palette = (torch.rand(20, 3, generator=seeded(1)) * (high - low) + low).to(device)
    image = ((torch.rand(3, 50, 60, generator=seeded(2)) * 1.2 - 0.1) * (high - low) + low).to(device)
    assert_same(image, palette, margin=True)
    assert_same(image, palette)


def test_flat_palettes(device: torch.device, path: str) -> None:
    """All colours on a line or in a plane: the grid still needs an edge across it."""
    image = (torch.rand(3, 40, 40, generator=seeded()) * 255).to(device)
    for axes in ((0,), (1, 2)):
        for unit in (1.0, 3.7):
            palette = torch.full((15, 3), 100.0, device=device)
            palette[:, axes] = random_palette(15, device)[:, axes]
            assert_same(image * unit, palette * unit, margin=True)


@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")  # NumPy's, interpreting
@pytest.mark.parametrize("margin", [False, True])
def test_values_that_are_not_finite(device: torch.device, path: str, margin: bool) -> None:
    special = torch.tensor([NAN, INF, -INF, HUGE, -HUGE, 1.8e19, 2e19, 1e-45, -0.0, 0.0, 255, 255.5, -0.5, 256, 128])
    image = torch.cartesian_prod(special, special, special).T[:, None].contiguous().to(device)
    palette = random_palette(9, device)
    assert_same(image, palette, margin=margin)
    assert_same(image, torch.cat([image[:, 0, ::297].T, palette[:5]]), margin=margin)
    assert_same(image, torch.tensor([[NAN, 0, 0], [NAN, 1, 1], [5, 5, 5], [INF, 0, 0]], device=device), margin=margin)
    large = torch.rand(12, 3, generator=seeded()).to(device) * HUGE
    assert_same(torch.rand(3, 9, 9, generator=seeded()).to(device) * HUGE, large, margin=margin)
    assert_same(large.T[:, None] * 1.0000001, large, margin=margin)


@pytest.mark.parametrize("margin", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (26, 34), (13, 17), (5, 70), (39, 9)])
def test_vote(device: torch.device, path: str, size: tuple[int, int], margin: bool) -> None:
    image = (torch.rand(2, 3, 13, 17, generator=seeded()) * 255).to(device)
    for num_classes in (1, 12):
        assert_same(image, random_palette(num_classes, device), size=size, margin=margin)
    blocks = image.repeat_interleave(3, -1).repeat_interleave(4, -2)
    assert_same(blocks, random_palette(12, device), size=size, margin=margin)


@pytest.mark.parametrize("size", [(30, 20), (9, 37), (16, 32)])
def test_rgb(device: torch.device, path: str, size: tuple[int, int]) -> None:
    """A blended colour is rounded at most five times, 255 * 5 * 2^-24 = 8e-5 away on each axis: no class is taken whose
    distance is more than twice 3^0.5 * 1.6e-4 from the best."""
    palette = random_palette(12, device)
    for dtype in (torch.float32, torch.uint8):
        image = (torch.rand(3, 16, 21, generator=seeded()) * 255).to(dtype).to(device)
        blended = F.interpolate(image.double()[None], size, mode="bilinear", align_corners=False)
        distances = (blended[:, None] - palette[:, :, None, None].double()).norm(dim=2)
        labels, margin = maskige_decode(image, palette, size=size, resize="rgb", margin=True)
        taken = distances.gather(1, labels.long()[None, None])[:, 0]
        assert bool((taken - distances.amin(1) < 6e-4).all())
        wanted = maskige_decode(image, palette, size=size, resize="rgb", margin=True, backend="reference")[1]
        torch.testing.assert_close(margin, wanted, rtol=1e-6, atol=1e-3)
        assert torch.equal(labels, maskige_decode(image, palette, size=size, resize="rgb"))


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


colors = st.one_of(
    st.integers(0, 255).map(float),
    st.integers(0, 8).map(lambda n: n * 32 - 0.5),  # the borders of cells
    st.integers(0, 8).map(lambda n: math.nextafter(n * 32 - 0.5, -INF)),
    st.floats(-10, 300, width=32),
    st.sampled_from([0.0, 255.0, 127.5, 3.5, 3.4999998, NAN, INF]),
)


@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")
@settings(derandomize=True, deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    palette=st.lists(st.tuples(*[st.floats(0, 255, width=32)] * 3), min_size=2, max_size=20),
    pixels=st.lists(st.tuples(colors, colors, colors), min_size=1, max_size=40),
    near=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19), st.integers(-2, 2)), max_size=20),
)
def test_anything(
    device: torch.device,
    path: str,
    palette: list[tuple[float, ...]],
    pixels: list[tuple[float, ...]],
    near: list[tuple[int, int, int]],
) -> None:
    """Pixels anywhere, and within a few roundings of halfway between two colours."""
    table = torch.tensor(palette)
    halfway = [(table[i % len(table)] + table[j % len(table)]) / 2 * (1 + n * 2.0**-23) for i, j, n in near]
    image = torch.cat([torch.tensor(pixels), *(h[None] for h in halfway)]).T[:, None].contiguous().to(device)
    assert_same(image, table.to(device), margin=True)
    assert_same(image, table.to(device))
