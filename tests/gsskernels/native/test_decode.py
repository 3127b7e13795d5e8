"""maskige_decode and maskige_evaluate of every instruction set, bit for bit against the reference.

Sizes: one pixel, below and above vectors of 4, 8 and 16 lanes and blocks of them, segments of 512 pixels, several
threads. Classes: brute force alone (K <= 8), cells, the ends of uint8 labels, lists longer than a block of four
colours.
"""

import ctypes
import gc
import math
import threading
import warnings
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import maskige_decode, maskige_evaluate
from gsskernels.native import library, prepared
from tests.gsskernels.inputs import INF, NAN, seeded

HUGE = torch.finfo(torch.float32).max


def random_palette(num_classes: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (num_classes, 3), generator=seeded(seed)).float()


@pytest.fixture(params=["cells", "brute force"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Cells for every palette and image, or for none."""
    cells = request.param == "cells"
    monkeypatch.setattr(prepared, "_cache", prepared._Cache())
    monkeypatch.setattr(prepared, "FEW_CLASSES", 0 if cells else math.inf)
    monkeypatch.setattr(prepared, "FEW_PIXELS", 0)
    monkeypatch.setattr(prepared, "WORTH_PREPARING", 0)
    yield request.param


def assert_same(maskige: Tensor, palette: Tensor, **options: object) -> None:
    """Labels equal in every bit; margins within a rounding or two, and a few more where they are resized."""
    wanted = maskige_decode(maskige, palette, backend="reference", **options)
    got = maskige_decode(maskige, palette, backend="native", **options)
    if not options.get("margin"):
        assert got.dtype == wanted.dtype and torch.equal(got, wanted)
        return
    assert torch.equal(got[0], wanted[0])
    if options.get("size") is None:
        # The square root of PyTorch is not always the nearest float32; that of the native library is.
        torch.testing.assert_close(got[1], wanted[1], rtol=2.0**-22, atol=0, equal_nan=True)
    else:
        # Neighbours' weights carry a rounding of the coordinate: coordinates below 64 have a spacing of 2^-18.
        largest = wanted[1][wanted[1].isfinite()].max() if wanted[1].isfinite().any() else 1.0
        torch.testing.assert_close(got[1], wanted[1], rtol=1e-6, atol=float(largest) * 2.0**-18)


@pytest.mark.parametrize("margin", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 5), (1, 15), (1, 17), (2, 31), (1, 511), (5, 103), (150, 257)])
def test_sizes(isa: str, path: str, shape: tuple[int, int], margin: bool) -> None:
    assert_same(torch.rand(2, 3, *shape, generator=seeded()) * 255, random_palette(19), margin=margin)


@pytest.mark.parametrize("margin", [False, True])
@pytest.mark.parametrize("num_classes", [1, 2, 3, 9, 11, 150, 255, 256, 700])
def test_class_counts(isa: str, path: str, num_classes: int, margin: bool) -> None:
    image = torch.rand(3, 37, 41, generator=seeded()) * 320 - 30  # some outside the grid
    assert_same(image, random_palette(num_classes), margin=margin)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_and_strides(isa: str, path: str, dtype: torch.dtype) -> None:
    image = (torch.rand(2, 3, 21, 40, generator=seeded()) * 255).to(dtype)
    views = (
        image,
        image.contiguous(memory_format=torch.channels_last),
        image.transpose(-1, -2),
        image[..., 1:, ::2],
        image[:, :, ::3, 1:],
        image[:, :, :1].expand(2, 3, 6, 40),
        image[:, :1].expand(2, 3, 21, 40),
        image[:1].expand(5, 3, 21, 40),
        image.permute(1, 0, 2, 3)[:, None].expand(3, 2, 2, 21, 40).transpose(0, 2),
    )
    palette = random_palette(30)
    for view in views:
        assert_same(view, palette, margin=True)
        assert_same(view, palette, size=(17, 55))
        assert_same(view, palette.to(torch.int64), size=(33, 18), margin=True)


def test_smooth_images_share_cells(isa: str, path: str) -> None:
    palette = random_palette(40)
    corners = torch.rand(1, 3, 3, 3, generator=seeded()) * 255
    image = F.interpolate(corners, (200, 300), mode="bilinear", align_corners=True)
    assert_same(image, palette, margin=True)
    assert_same(image, palette)
    flat = palette[torch.randint(0, 40, (5, 7), generator=seeded())].permute(2, 0, 1)
    assert_same(flat.repeat_interleave(40, 2), palette)


# Cells are cut every 4 units from -0.5, and walls between integer colours pass through many half integers: ties and
# cell borders coincide there, so a class left out wrongly would show.
@pytest.mark.parametrize("step", [1.0, 0.5])
def test_ties_on_a_lattice(isa: str, path: str, step: float) -> None:
    palette = (torch.cartesian_prod(*[torch.arange(5)] * 3) * 51).float().flip(0)
    axis = torch.arange(0, 64, step)
    image = torch.stack(torch.meshgrid(axis + 70, axis, indexing="ij") + (torch.full((len(axis),) * 2, 127.5),))
    assert_same(image, palette, margin=True)
    assert_same(image, palette)
    half = (image - 0.5).nextafter(torch.tensor(INF))
    assert_same(half, palette)


def test_equal_and_close_colors(isa: str, path: str) -> None:
    palette = random_palette(20).repeat(3, 1)[torch.randperm(60, generator=seeded())]
    palette[::7] = palette[3] + torch.rand(9, 3, generator=seeded()) * 1e-3
    image = torch.rand(3, 60, 61, generator=seeded()) * 255
    image[:, :20] = palette[3][:, None, None] + torch.randn(3, 20, 61, generator=seeded()) * 1e-3
    assert_same(image, palette, margin=True)
    assert_same(image, palette)
    assert_same(image, torch.full((50, 3), 7.0), margin=True)


@pytest.mark.parametrize("low, high", [(0, 1), (-1, 1), (1e6, 1e6 + 50), (-3e-3, 2e-3), (0, 1e12), (1e-20, 3e-20)])
def test_other_units(isa: str, path: str, low: float, high: float) -> None:
    palette = torch.rand(60, 3, generator=seeded(1)) * (high - low) + low
    image = (torch.rand(3, 50, 60, generator=seeded(2)) * 1.2 - 0.1) * (high - low) + low
    assert_same(image, palette, margin=True)
    assert_same(image, palette)


def test_flat_palettes(isa: str, path: str) -> None:
    """All colours on a line or in a plane: the grid still needs an edge across it."""
    image = torch.rand(3, 40, 40, generator=seeded()) * 255
    for axes in ((0,), (1, 2)):
        for unit in (1.0, 1 / 255):
            palette = torch.full((30, 3), 100.0)
            palette[:, axes] = random_palette(30)[:, axes]
            assert_same(image * unit, palette * unit, margin=True)
            assert_same(image * unit, palette * unit)


@pytest.mark.parametrize("margin", [False, True])
def test_values_that_are_not_finite(isa: str, path: str, margin: bool) -> None:
    special = torch.tensor([NAN, INF, -INF, HUGE, -HUGE, 1.8e19, 2e19, 1e-45, -0.0, 0.0, 255, 255.5, -0.5, 256, 128])
    image = torch.cartesian_prod(special, special, special).T[:, None].contiguous()
    assert_same(image, random_palette(19), margin=margin)
    assert_same(image, torch.cat([image[:, 0, ::97].T, random_palette(5)]), margin=margin)
    assert_same(image, torch.tensor([[NAN, 0, 0], [NAN, 1, 1], [5, 5, 5], [INF, 0, 0]]), margin=margin)
    palette = torch.rand(12, 3, generator=seeded()) * HUGE
    assert_same(torch.rand(3, 9, 9, generator=seeded()) * HUGE, palette, margin=margin)
    assert_same(palette.T[:, None] * 1.0000001, palette, margin=margin)


def test_outside_the_grid(isa: str, path: str) -> None:
    image = torch.randn(3, 70, 80, generator=seeded()) * 300 + 100
    image[:, 10] = torch.tensor([300.0, -5, 100])[:, None]
    assert_same(image, random_palette(50), margin=True)
    assert_same(image, random_palette(50))


@pytest.mark.parametrize("margin", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (26, 34), (13, 17), (5, 70), (52, 9), (101, 67), (39, 51)])
def test_vote(isa: str, path: str, size: tuple[int, int], margin: bool) -> None:
    image = torch.rand(2, 3, 13, 17, generator=seeded()) * 255
    for num_classes in (1, 12, 300):
        assert_same(image, random_palette(num_classes), size=size, margin=margin)
    blocks = image.repeat_interleave(3, -1).repeat_interleave(4, -2)
    assert_same(blocks, random_palette(12), size=size, margin=margin)


@pytest.mark.parametrize("size", [(90, 80), (101, 157), (64, 96)])
def test_rgb(isa: str, path: str, size: tuple[int, int]) -> None:
    """A blended colour is rounded at most five times, 255 * 5 * 2^-24 = 8e-5 away on each axis: no class is taken whose
    distance is more than twice 3^0.5 * 1.6e-4 from the best."""
    palette = random_palette(25)
    for dtype in (torch.float32, torch.uint8):
        image = (torch.rand(2, 3, 48, 64, generator=seeded()) * 255).to(dtype)
        blended = F.interpolate(image.double(), size, mode="bilinear", align_corners=False)
        distances = (blended[:, None] - palette[:, :, None, None].double()).norm(dim=2)
        labels, margin = maskige_decode(image, palette, size=size, resize="rgb", margin=True, backend="native")
        taken = distances.gather(1, labels.long()[:, None])[:, 0]
        assert bool((taken - distances.amin(1) < 6e-4).all())
        wanted = maskige_decode(image, palette, size=size, resize="rgb", margin=True, backend="reference")[1]
        torch.testing.assert_close(margin, wanted, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize(
    "resize, size", [("vote", (40, 33)), ("vote", (80, 66)), ("vote", (19, 50)), ("rgb", (64, 70))]
)
def test_evaluate(isa: str, path: str, dtype: torch.dtype, resize: str, size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, 40, 33, generator=seeded()) * 255
    image[:, :, 10:30] = 200
    palette = random_palette(12)
    target = torch.randint(0, 15, (2, *size), generator=seeded(1)).to(dtype)
    target[:, 5:15] = 3
    target[:, 20:22] = 100
    if dtype is not torch.uint8:
        target[:, 1] = -1
    wide = torch.empty(2, size[1], size[0], dtype=dtype).transpose(1, 2).copy_(target)
    for ignore_index in (100, 3, 255, -1):
        for view in (target, wide, target[:1].expand(2, *size)):
            options = {"ignore_index": ignore_index, "resize": resize}
            got = maskige_evaluate(image, palette, view, backend="native", **options)
            labels = maskige_decode(image, palette, size=size, resize=resize, backend="native")
            counted = (view.long() != ignore_index) & (view.long() >= 0) & (view.long() < 12)
            cells = (view.long() * 12 + labels.long())[counted]
            assert torch.equal(got, torch.bincount(cells, minlength=144).view(12, 12))


def test_the_users_defaults_do_not_matter() -> None:
    image, palette = torch.rand(3, 8, 8, generator=seeded()) * 255, random_palette(9)
    wanted = maskige_decode(image, palette, margin=True, backend="native")
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        got = maskige_decode(image, palette, margin=True, backend="native")
    finally:
        torch.set_default_dtype(before)
    assert all(torch.equal(a, b) and a.dtype is b.dtype for a, b in zip(got, wanted, strict=True))


def test_evaluate_with_so_many_classes_that_threads_share_a_table(isa: str) -> None:
    palette = random_palette(1100)
    image, target = (
        torch.rand(3, 64, 60, generator=seeded()) * 255,
        torch.randint(0, 1200, (64, 60), generator=seeded()),
    )
    assert torch.equal(
        maskige_evaluate(image, palette, target, backend="native"),
        maskige_evaluate(image, palette, target, backend="reference"),
    )


def test_results_do_not_depend_on_threads(isa: str) -> None:
    palette = random_palette(40)
    image = torch.rand(2, 3, 190, 301, generator=seeded()) * 260
    target = torch.randint(0, 40, (2, 333, 400), generator=seeded())
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(
                (
                    *maskige_decode(image, palette, margin=True, backend="native"),
                    *maskige_decode(image, palette, size=(333, 400), margin=True, backend="native"),
                    *maskige_decode(image, palette, size=(333, 400), resize="rgb", margin=True, backend="native"),
                    maskige_evaluate(image, palette, target, backend="native"),
                )
            )
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_very_many_classes(isa: str) -> None:
    """More classes than the words of a grid of 64 can name: cells are coarser and lists longer."""
    palette = torch.rand(40_000, 3, generator=seeded()) * 255
    image = torch.rand(3, 4, 40, generator=seeded()) * 255
    cells = prepared.PreparedPalette(palette.numpy().tobytes(), 40_000, 1)
    facts = (ctypes.c_int64 * 5)()
    library.functions.describe_cells(cells.handle, facts)
    assert facts[0] == 32 and facts[3] < 32 * 2**20
    distances = sum((x[None] - p[:, None]) ** 2 for x, p in zip(image.flatten(1), palette.T, strict=True))
    labels = maskige_decode(image.repeat(1, 40, 1), palette, backend="native")  # enough pixels to take the cells
    assert torch.equal(labels[:4].flatten().long(), distances.argmin(0))


@pytest.mark.parametrize("value", [NAN, INF, 1e30])
def test_palettes_without_a_grid(isa: str, value: float) -> None:
    palette = random_palette(20)
    palette[3, 1] = value
    assert prepared.PreparedPalette(palette.numpy().tobytes(), 20, 1).handle is None


# --- The cache of prepared palettes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["cells"], indirect=True)
def test_a_palette_written_behind_torchs_back_is_noticed(isa: str, path: str) -> None:
    palette = random_palette(20)
    image = torch.rand(3, 30, 30, generator=seeded()) * 255
    assert_same(image, palette)
    palette.data[3] = 77
    assert_same(image, palette)
    palette.numpy()[5] = 99
    assert_same(image, palette)


@pytest.mark.parametrize("path", ["cells"], indirect=True)
def test_the_cache_is_bounded_and_frees(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    free = library.functions.release_cells
    monkeypatch.setattr(library.functions, "release_cells", lambda handle: released.append(handle) or free(handle))
    image = torch.rand(3, 8, 8, generator=seeded()) * 255
    for seed in range(20):
        maskige_decode(image, random_palette(12, seed), backend="native")
    gc.collect()
    assert len(prepared._cache.entries) == prepared.MOST_PALETTES
    assert len(released) == 20 - prepared.MOST_PALETTES
    oldest = random_palette(12, 20 - prepared.MOST_PALETTES)
    maskige_decode(image, oldest, backend="native")  # used again, so it is now the newest
    maskige_decode(image, random_palette(12, 99), backend="native")
    assert (oldest.numpy().tobytes(), 1) in prepared._cache.entries


def test_preparing_waits_until_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_cache", prepared._Cache())
    palette = random_palette(19)
    pixels = prepared.WORTH_PREPARING // 19 // 2
    calls = [prepared.prepared(palette.data_ptr(), 19, 1, pixels) for _ in range(4)]
    assert calls[0] is calls[1] is None and calls[3] is not None
    assert prepared.prepared(palette.data_ptr(), 19, 1, 64) is None
    assert prepared.prepared(palette.data_ptr(), 8, 1, 10**9) is None


@pytest.mark.parametrize("path", ["cells"], indirect=True)
def test_many_python_threads(isa: str, path: str) -> None:
    image = torch.rand(3, 40, 50, generator=seeded()) * 255
    palettes = [random_palette(15, seed) for seed in range(12)]
    wanted = [maskige_decode(image, palette, backend="reference") for palette in palettes]
    wrong = []

    def work(start: int) -> None:
        for step in range(60):
            n = (start + step) % len(palettes)
            if not torch.equal(maskige_decode(image, palettes[n], backend="native"), wanted[n]):
                wrong.append(n)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_after_a_fork(path: str) -> None:
    import multiprocessing

    image, palette = torch.rand(3, 200, 200, generator=seeded()) * 255, random_palette(19)
    wanted = bytes(maskige_decode(image, palette, backend="native").numpy())

    def child() -> None:
        labels = maskige_decode(image, palette, backend="native")
        raise SystemExit(0 if bytes(labels.numpy()) == wanted else 1)  # torch.equal would wait for lost threads

    with prepared._cache.lock, warnings.catch_warnings():  # as if another thread held it while this one forks
        warnings.simplefilter("ignore", DeprecationWarning)
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
    process.join(20)
    if process.is_alive():
        process.kill()
    assert process.exitcode == 0


colors = st.one_of(
    st.integers(0, 255).map(float),
    st.floats(-10, 300, width=32),
    st.sampled_from([0.0, 255.0, 127.5, 3.5, 3.4999998, NAN, INF, HUGE]),
)


@settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    palette=st.lists(st.tuples(*[st.floats(0, 255, width=32)] * 3), min_size=2, max_size=40),
    pixels=st.lists(st.tuples(colors, colors, colors), min_size=1, max_size=40),
    size=st.one_of(st.none(), st.tuples(st.integers(1, 60), st.integers(1, 60))),
)
def test_anything(
    path: str,
    palette: list[tuple[float, ...]],
    pixels: list[tuple[float, ...]],
    size: tuple[int, int] | None,
) -> None:
    image = torch.tensor(pixels).T[:, None].contiguous()
    assert_same(image, torch.tensor(palette), size=size)
    assert_same(image, torch.tensor(palette), margin=True)
