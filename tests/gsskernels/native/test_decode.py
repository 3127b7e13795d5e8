"""Prepared palettes: their cells, and their cache across threads and forks."""

import ctypes
import gc
import threading
import warnings

import pytest
import torch

from gsskernels import maskige_decode
from gsskernels.native import library, prepared
from tests.gsskernels.inputs import INF, NAN, assert_as_reference, random_palette, seeded


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells for every palette and image."""
    monkeypatch.setattr(prepared, "_cache", prepared._Cache())
    for limit in ("FEW_CLASSES", "FEW_PIXELS", "WORTH_PREPARING"):
        monkeypatch.setattr(prepared, limit, 0)


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


def test_very_many_classes(isa: str) -> None:
    """More classes than the words of a grid of 64 can name: cells are coarser and lists longer."""
    palette = torch.rand(40_000, 3, generator=seeded()) * 255
    image = torch.rand(3, 4, 40, generator=seeded()) * 255
    made = prepared.PreparedPalette(palette.numpy().tobytes(), 40_000, 1)
    facts = (ctypes.c_int64 * 5)()
    library.functions.describe_cells(made.handle, facts)
    assert facts[0] == 32 and facts[3] < 32 * 2**20
    distances = sum((x[None] - p[:, None]) ** 2 for x, p in zip(image.flatten(1), palette.T, strict=True))
    labels = maskige_decode(image.repeat(1, 40, 1), palette, backend="native")  # enough pixels to take the cells
    assert torch.equal(labels[:4].flatten().long(), distances.argmin(0))


@pytest.mark.parametrize("value", [NAN, INF, 1e30])
def test_palettes_without_a_grid(isa: str, value: float) -> None:
    palette = random_palette(20)
    palette[3, 1] = value
    assert prepared.PreparedPalette(palette.numpy().tobytes(), 20, 1).handle is None


def test_a_palette_written_behind_torchs_back_is_noticed(
    isa: str, cells: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gsskernels._dispatch.default", "native")
    palette = random_palette(20)
    image = torch.rand(3, 30, 30, generator=seeded()) * 255
    assert_as_reference(maskige_decode, image, palette)
    palette.data[3] = 77
    assert_as_reference(maskige_decode, image, palette)
    palette.numpy()[5] = 99
    assert_as_reference(maskige_decode, image, palette)


def test_the_cache_is_bounded_and_frees(cells: None, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_many_python_threads(isa: str, cells: None) -> None:
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


def test_after_a_fork(cells: None) -> None:
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
