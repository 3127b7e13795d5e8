"""maskige_decode and maskige_evaluate by cells and by brute force, bit for bit against the reference.

Sizes: one pixel, around vectors of 4, 8 and 16 lanes and blocks of them, segments of 512 pixels, several threads.
Classes: brute force alone (K <= 8), cells, the ends of uint8 labels, lists longer than a block of four colours.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import maskige_decode, maskige_evaluate
from tests.gsskernels.inputs import INF, INTEGERS, NAN, assert_as_reference, random_palette, same, seeded

HUGE = torch.finfo(torch.float32).max
each_margin = pytest.mark.parametrize("margin", [False, True])
numpy_warns = pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")  # interpreted


@pytest.fixture(params=["cells", "brute force"])
def path(
    request: pytest.FixtureRequest, default_backend: str, interpreted: bool, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Cells for every palette and image, or for none.

    In the interpreter grids are coarser and blocks longer than on a GPU, which must not change the results.
    """
    backend = "gsskernels.native.prepared" if default_backend == "native" else "gsskernels.triton.decode"
    monkeypatch.setattr(f"{backend}.FEW_CLASSES", 0 if request.param == "cells" else math.inf)
    monkeypatch.setattr(f"{backend}.WORTH_PREPARING", 0)
    if default_backend == "native":
        monkeypatch.setattr(f"{backend}.FEW_PIXELS", 0)
    else:
        monkeypatch.setattr("gsskernels.triton.confusion.PIXELS_A_TABLE", 500)
    if interpreted:
        monkeypatch.setattr("gsskernels.triton.cells.BITS", 3)
        monkeypatch.setattr("gsskernels.triton.cells.BLOCK_BITS", 3)
        monkeypatch.setattr(f"{backend}.BLOCK", 2048)
    return str(request.param)


def assert_same(maskige: Tensor, palette: Tensor, **options: object) -> None:
    """Labels equal in every bit; margins within a rounding or two, and a few more where they are resized."""
    wanted = maskige_decode(maskige, palette, backend="reference", **options)
    got = maskige_decode(maskige, palette, **options)
    if not options.get("margin"):
        assert same(got, wanted)
        return
    assert same(got[0], wanted[0])
    if options.get("size") is None:
        # The square root of PyTorch is not always the nearest float32; that of the kernels is.
        torch.testing.assert_close(got[1], wanted[1], rtol=2.0**-22, atol=0, equal_nan=True)
    else:
        # Neighbours' weights carry a rounding of the coordinate: coordinates below 64 have a spacing of 2^-18.
        largest = wanted[1][wanted[1].isfinite()].max() if wanted[1].isfinite().any() else 1.0
        torch.testing.assert_close(got[1], wanted[1], rtol=1e-6, atol=float(largest) * 2.0**-18)


def both(maskige: Tensor, palette: Tensor) -> None:
    assert_same(maskige, palette, margin=True)
    assert_same(maskige, palette)


def noise(*shape: int, scale: float = 255, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=seeded(seed)) * scale


def test_sizes(path: str, interpreted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [(1, 1), (1, 3), (3, 5), (1, 15), (1, 17), (2, 31), (1, 511), (5, 103), (150, 257)]
    if interpreted:
        monkeypatch.setattr("gsskernels.triton.decode.BLOCK", 256)
        shapes = [(1, 1), (1, 3), (3, 5), (1, 255), (1, 257), (2, 300), (20, 5)]
    for shape in shapes:
        image = noise(2, 3, *shape)
        both(image, random_palette(5 if interpreted else 19))
        both(image[..., :2], random_palette(5))


@each_margin
@pytest.mark.parametrize("num_classes", [1, 2, 3, 9, 11, 19, 150, 255, 256, 300, 700])
def test_class_counts(path: str, num_classes: int, margin: bool, interpreted: bool) -> None:
    num_classes = min(num_classes, 300) if interpreted else num_classes
    assert_same(noise(3, 37, 41, scale=320) - 30, random_palette(num_classes), margin=margin)  # some outside the grid


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_and_strides(path: str, dtype: torch.dtype, interpreted: bool) -> None:
    height, width = (4, 20) if interpreted else (21, 40)
    image = noise(2, 3, height, width).to(dtype)
    views = (
        image,
        image.contiguous(memory_format=torch.channels_last),
        image.transpose(-1, -2),
        image[..., 1:, ::2],
        image[:, :, ::3, 1:],
        image[:, :, :1].expand(2, 3, 6, width),
        image[:, :1].expand(2, 3, height, width),
        image[:1].expand(3, 3, height, width),
        image[..., :1],
        image.permute(1, 0, 2, 3)[:, None].expand(3, 2, 2, height, width).transpose(0, 2),
    )
    palette = random_palette(6 if interpreted else 30)
    for view in views[:3] if interpreted and dtype is not torch.float32 else views:
        assert_same(view, palette, margin=True)
        if not interpreted:
            assert_same(view, palette, size=(17, 55))
            assert_same(view, palette.to(torch.int64), size=(33, 18), margin=True)
    assert_same(views[1], palette.to(torch.int64), size=(7, 15))
    assert_same(views[2], palette.to(torch.float64).t().contiguous().t(), size=(9, 28), margin=True)


def test_smooth_images_share_cells(path: str, interpreted: bool) -> None:
    palette = random_palette(12 if interpreted else 40)
    corners = noise(1, 3, 3, 3)
    both(F.interpolate(corners, (40, 60) if interpreted else (200, 300), mode="bilinear", align_corners=True), palette)
    flat = palette[torch.randint(0, len(palette), (5, 7), generator=seeded())].permute(2, 0, 1)
    assert_same(flat.repeat_interleave(40, 2), palette)
    both(palette[5][:, None, None].expand(3, 20, 30), palette)


# Cells are cut every 4 (or, interpreted, 32) units from -0.5, and walls between integer colours pass through many half
# integers: ties and cell borders coincide there, so a class that is wrongly omitted would show.
@pytest.mark.parametrize("step", [1.0, 0.5])
def test_ties_on_a_lattice(path: str, step: float, interpreted: bool) -> None:
    per_axis, apart, extent = (3, 102, 32) if interpreted else (5, 51, 64)
    palette = (torch.cartesian_prod(*[torch.arange(per_axis)] * 3) * apart).float().flip(0)
    axis = torch.arange(0, extent, step)
    image = torch.stack(torch.meshgrid(axis + 70, axis, indexing="ij") + (torch.full((len(axis),) * 2, 127.5),))
    both(image, palette)
    assert_same((image - 0.5).nextafter(torch.tensor(INF)), palette)


def test_equal_and_close_colors(path: str) -> None:
    palette = random_palette(6).repeat(3, 1)[torch.randperm(18, generator=seeded())]
    palette[::7] = palette[3] + noise(3, 3, scale=1e-3)
    image = noise(3, 60, 31)
    image[:, :20] = palette[3][:, None, None] + torch.randn(3, 20, 31, generator=seeded()) * 1e-3
    both(image, palette)
    assert_same(image, torch.full((20, 3), 7.0), margin=True)
    assert_same(image / 255 + 3, torch.full((20, 3), 3.5), margin=True)  # a box without extent


def test_lists_that_overflow(path: str) -> None:
    """More colours in a cell than a list holds in Triton: brute force there, lists elsewhere."""
    palette = torch.cat([noise(20, 3, scale=2) + 100, random_palette(6)])
    image = noise(3, 30, 31)
    image[:, :10] = noise(3, 10, 31, scale=2) + 100
    both(image, palette)


@pytest.mark.parametrize("low, high", [(0, 1), (-1, 1), (1e6, 1e6 + 50), (-3e-3, 2e-3), (0, 1e12), (1e-20, 3e-20)])
def test_other_units(path: str, low: float, high: float, interpreted: bool) -> None:
    palette = noise(20 if interpreted else 60, 3, scale=1, seed=1) * (high - low) + low
    both((noise(3, 50, 60, scale=1.2, seed=2) - 0.1) * (high - low) + low, palette)


def test_flat_palettes(path: str, interpreted: bool) -> None:
    """All colours on a line or in a plane: the grid still needs an edge across it."""
    image, count = noise(3, 40, 40), 15 if interpreted else 30
    for axes in ((0,), (1, 2)):
        for unit in (1.0, 3.7) if interpreted else (1.0, 3.7, 1 / 255):
            palette = torch.full((count, 3), 100.0)
            palette[:, axes] = random_palette(count)[:, axes]
            both(image * unit, palette * unit)


@numpy_warns
@each_margin
def test_values_that_are_not_finite(path: str, margin: bool, interpreted: bool) -> None:
    special = torch.tensor([NAN, INF, -INF, HUGE, -HUGE, 1.8e19, 2e19, 1e-45, -0.0, 0.0, 255, 255.5, -0.5, 256, 128])
    image = torch.cartesian_prod(special, special, special).T[:, None].contiguous()
    assert_same(image, random_palette(9 if interpreted else 19), margin=margin)
    assert_same(image, torch.cat([image[:, 0, :: 297 if interpreted else 97].T, random_palette(5)]), margin=margin)
    assert_same(image, torch.tensor([[NAN, 0, 0], [NAN, 1, 1], [5, 5, 5], [INF, 0, 0]]), margin=margin)
    large = noise(12, 3, scale=1) * HUGE
    assert_same(noise(3, 9, 9, scale=1) * HUGE, large, margin=margin)
    assert_same(large.T[:, None] * 1.0000001, large, margin=margin)


def test_outside_the_grid(path: str, interpreted: bool) -> None:
    image = torch.randn(3, 30, 40, generator=seeded()) * 300 + 100
    image[:, 10] = torch.tensor([300.0, -5, 100])[:, None]
    both(image, random_palette(12 if interpreted else 50))


@each_margin
@pytest.mark.parametrize("size", [(1, 1), (26, 34), (13, 17), (5, 70), (52, 9), (101, 67), (39, 51)])
def test_vote(path: str, size: tuple[int, int], margin: bool, interpreted: bool) -> None:
    size = (min(size[0], 39), min(size[1], 70)) if interpreted else size
    image = noise(2, 3, 13, 17)
    for num_classes in (1, 12) if interpreted else (1, 12, 300):
        assert_same(image, random_palette(num_classes), size=size, margin=margin)
    blocks = image.repeat_interleave(3, -1).repeat_interleave(4, -2)
    assert_same(blocks, random_palette(12), size=size, margin=margin)


@pytest.mark.parametrize("size", [(90, 80), (101, 157), (64, 96)])
def test_rgb(path: str, size: tuple[int, int], interpreted: bool) -> None:
    """A blended colour is rounded at most five times, 255 * 5 * 2^-24 = 8e-5 away on each axis: no class is taken whose
    distance is more than twice 3^0.5 * 1.6e-4 from the best."""
    palette = random_palette(12 if interpreted else 25)
    shape, size = ((1, 3, 16, 21), (size[0] // 3, size[1] // 4)) if interpreted else ((2, 3, 48, 64), size)
    for dtype in (torch.float32, torch.uint8):
        image = noise(*shape).to(dtype)
        blended = F.interpolate(image.double(), size, mode="bilinear", align_corners=False)
        distances = (blended[:, None] - palette[:, :, None, None].double()).norm(dim=2)
        labels, margin = maskige_decode(image, palette, size=size, resize="rgb", margin=True)
        taken = distances.gather(1, labels.long()[:, None])[:, 0]
        assert bool((taken - distances.amin(1) < 6e-4).all())
        wanted = maskige_decode(image, palette, size=size, resize="rgb", margin=True, backend="reference")[1]
        torch.testing.assert_close(margin, wanted, rtol=1e-6, atol=1e-3)
        assert torch.equal(labels, maskige_decode(image, palette, size=size, resize="rgb"))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("resize, size", [("vote", (10, 33)), ("vote", (21, 50)), ("vote", (7, 25)), ("rgb", (12, 35))])
def test_evaluate(path: str, dtype: torch.dtype, resize: str, size: tuple[int, int], interpreted: bool) -> None:
    times = 1 if interpreted else 4  # the image's size, twice that, and others
    image, size = noise(2, 3, 10 * times, 33), (size[0] * times, size[1])
    image[:, :, 3:7] = 200
    palette = random_palette(6 if interpreted else 12)
    classes = len(palette)
    target = torch.randint(0, classes + 3, (2, *size), generator=seeded(1)).to(dtype)
    target[:, 3:8] = 3
    target[:, 6:7] = 100
    if dtype is not torch.uint8:
        target[:, 1] = -1
    labels = maskige_decode(image, palette, size=size, resize=resize)
    wide = target.transpose(1, 2).contiguous().transpose(1, 2)
    views = [(target, 100), (wide, 3), (target[:1].expand(2, *size), -1)]
    for view, ignore_index in views if interpreted else [(v, i) for v, _ in views for i in (100, 3, 255, -1)]:
        got = maskige_evaluate(image, palette, view, ignore_index=ignore_index, resize=resize)
        counted = (view.long() != ignore_index) & (view.long() >= 0) & (view.long() < classes)
        cells = (view.long() * classes + labels.long())[counted]
        assert torch.equal(got, torch.bincount(cells, minlength=classes**2).view(classes, classes))


def test_evaluating_layouts(path: str) -> None:
    palette, image = random_palette(5), noise(2, 2, 3, 8, 9)
    target = torch.randint(0, 5, (2, 2, 16, 20), generator=seeded())
    for maskige, wanted in ((image, target), (image[0, 0], target[0, 0]), (image.transpose(0, 1), target)):
        assert_as_reference(maskige_evaluate, maskige, palette, wanted)
        assert_as_reference(maskige_evaluate, maskige.double(), palette, wanted)


@pytest.mark.parametrize("num_classes", [1, 270, 1100])
def test_evaluating_one_class_and_many(num_classes: int) -> None:
    """With 1100 classes native threads share one table."""
    image, palette = noise(3, 19, 30), random_palette(num_classes)
    target = torch.randint(0, num_classes + 2, (33, 12), generator=seeded())
    assert_as_reference(maskige_evaluate, image, palette, target)
    assert maskige_evaluate(image[:, :0, :12], palette, target[:0]).sum() == 0


colors = st.one_of(
    st.integers(0, 255).map(float),
    st.integers(0, 8).map(lambda n: n * 32 - 0.5),  # the borders of cells
    st.integers(0, 8).map(lambda n: math.nextafter(n * 32 - 0.5, -INF)),
    st.floats(-10, 300, width=32),
    st.sampled_from([0.0, 255.0, 127.5, 3.5, 3.4999998, NAN, INF, HUGE]),
)


@numpy_warns
@settings(derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    palette=st.lists(st.tuples(*[st.floats(0, 255, width=32)] * 3), min_size=2, max_size=40),
    pixels=st.lists(st.tuples(colors, colors, colors), min_size=1, max_size=40),
    near=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39), st.integers(-2, 2)), max_size=20),
    size=st.one_of(st.none(), st.tuples(st.integers(1, 60), st.integers(1, 60))),
)
def test_anything(
    path: str,
    interpreted: bool,
    palette: list[tuple[float, ...]],
    pixels: list[tuple[float, ...]],
    near: list[tuple[int, int, int]],
    size: tuple[int, int] | None,
) -> None:
    """Pixels anywhere, and within a few roundings of halfway between two colours."""
    table = torch.tensor(palette)
    halfway = [(table[i % len(table)] + table[j % len(table)]) / 2 * (1 + n * 2.0**-23) for i, j, n in near]
    image = torch.cat([torch.tensor(pixels), *(h[None] for h in halfway)]).T[:, None].contiguous()
    both(image, table)
    if not interpreted:
        assert_same(image, table, size=size)
