"""Encode on every instruction set: the reference's bits, whatever way of painting the sizes and layouts choose."""

import math

import pytest
import torch
from torch import Tensor

import gsskernels.native.encode as native
from gsskernels import maskige_encode
from gsskernels.native import library
from tests.gsskernels.inputs import seeded

OUTPUTS = (torch.float32, torch.bfloat16, torch.float16, torch.uint8)


def assert_same(labels: Tensor, palette: Tensor, **options: object) -> None:
    got = maskige_encode(labels, palette, backend="native", **options)  # type: ignore[arg-type]
    wanted = maskige_encode(labels, palette, backend="reference", **options)  # type: ignore[arg-type]
    assert got.dtype == wanted.dtype and got.is_contiguous() and torch.equal(got, wanted)


def patches(height: int, width: int, classes: int) -> Tensor:
    """Large uniform areas with some noise, as label maps are."""
    coarse = torch.randint(0, classes, (height // 32 + 1, width // 100 + 1), generator=seeded(1))
    labels = coarse.repeat_interleave(32, 0).repeat_interleave(100, 1)[:height, :width].contiguous()
    noise = torch.rand(labels.shape, generator=seeded(2)) < 0.01
    return torch.where(noise, torch.randint(-1, classes + 1, labels.shape, generator=seeded(3)), labels)


# Class counts around what registers hold (31 of 32 bits, 63 of 16, 255 of 8), and beyond a byte.
@pytest.mark.parametrize("classes", [1, 15, 16, 31, 32, 63, 64, 127, 128, 254, 255, 256, 1000])
@pytest.mark.parametrize("dtype", OUTPUTS)
def test_class_counts(isa: str, classes: int, dtype: torch.dtype) -> None:
    palette = torch.rand(classes, 3, generator=seeded(classes)) * 255
    labels = torch.randint(-3, classes + 3, (2, 37, 101), generator=seeded())
    labels[1] = patches(37, 101, classes)
    for label_dtype in (torch.uint8, torch.int16, torch.int32, torch.int64) if classes <= 256 else (torch.int32,):
        assert_same(labels.to(label_dtype), palette, dtype=dtype, scale=1 / 3, shift=-2.5, ignore_color=(1, 2.5, 300))


# Around vectors, runs of 64, blocks of 2048 pixels and several threads; uneven so that planes are not aligned.
@pytest.mark.parametrize(
    "shape", [(0, 5), (5, 0), (1, 1), (1, 63), (1, 64), (1, 65), (3, 17), (2, 2047), (1, 2049), (333, 517)]
)
@pytest.mark.parametrize("dtype", OUTPUTS)
@pytest.mark.parametrize("past_caches", [False, True])
def test_sizes(
    isa: str, shape: tuple[int, int], dtype: torch.dtype, past_caches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "CACHE_BYTES", 0 if past_caches else 2**40)
    palette = torch.randint(0, 256, (19, 3), generator=seeded())
    for labels in (patches(*shape, 19), patches(*shape, 19).to(torch.uint8), patches(*shape, 19)[None, None]):
        assert_same(labels, palette, dtype=dtype)


def test_layouts(isa: str) -> None:
    palette = torch.randint(0, 256, (40, 3), generator=seeded()).to(torch.int16)
    labels = torch.randint(0, 41, (3, 70, 210), generator=seeded(1), dtype=torch.uint8)
    views = [
        labels.transpose(1, 2),
        labels[:, ::2, 1::3],
        labels[:, :-1, 3:-4],
        labels[:1].expand(5, 70, 210),
        labels[:, :, :1].expand(3, 70, 99),
        labels.permute(1, 2, 0),
        labels.view(3, 7, 10, 210).permute(2, 0, 1, 3),
    ]
    for view in views:
        for dtype in (torch.float32, torch.uint8):
            assert_same(view, palette, dtype=dtype)
    for strided in (palette.t().contiguous().t(), palette.flip(0)[::2], palette[:1].expand(40, 3)):
        assert_same(labels, strided)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, *OUTPUTS, torch.float64]
)
def test_palette_dtypes(isa: str, dtype: torch.dtype) -> None:
    palette = (torch.rand(20, 3, generator=seeded()) * 127).to(dtype)
    assert_same(torch.randint(0, 20, (9, 33), generator=seeded()), palette, scale=0.7, shift=0.1)


def test_values_that_do_not_fit(isa: str) -> None:
    palette = torch.tensor(
        [[math.nan, math.inf, -math.inf], [1e6, -1e6, 65519.0], [1e-40, 6e-8, 2.5], [0.5, 1.5, 254.5]]
    )
    labels = torch.arange(70).remainder(5).view(7, 10)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        got = maskige_encode(labels, palette, dtype=dtype, backend="native")
        torch.testing.assert_close(
            got, maskige_encode(labels, palette, dtype=dtype, backend="reference"), rtol=0, atol=0, equal_nan=True
        )
    assert_same(labels, palette[1:], dtype=torch.uint8)


def test_ignore_indices_outside_every_dtype(isa: str) -> None:
    palette = torch.randint(0, 256, (5, 3), generator=seeded())
    labels = torch.randint(-128, 128, (13, 70), generator=seeded()).to(torch.int8)
    for ignore_index in (-(2**62), -1, 0, 3, 255, 2**31, 2**62):
        assert_same(labels, palette, ignore_index=ignore_index, ignore_color=(9, 8, 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
@pytest.mark.parametrize("cache_bytes", [0, 2**40])
@pytest.mark.parametrize("classes", [19, 300])
def test_channels_last_output(isa: str, dtype: torch.dtype, cache_bytes: int, classes: int) -> None:
    """The public function returns planes; the C function writes any strides, packed pixels fast."""
    palette = torch.randint(0, 256, (classes, 3), generator=seeded()).float()
    labels = torch.randint(0, classes, (2, 61, 83), generator=seeded(), dtype=torch.int32)
    wanted = maskige_encode(labels, palette, dtype=dtype, backend="reference")
    for pixel_stride, channel_stride in ((3, 1), (4, 1), (6, 2)):
        pixels = 61 * 83 * pixel_stride
        out = torch.zeros(2 * pixels, dtype=dtype)
        status = library.functions.maskige_encode(
            *(labels.data_ptr(), library.DTYPES[labels.dtype], 2, 61, 83, 61 * 83, 83, 1),
            *(palette.data_ptr(), library.DTYPES[palette.dtype], classes, 3, 1, 1.0, 0.0, 255, 0.0, 0.0, 0.0),
            *(out.data_ptr(), library.DTYPES[dtype], pixels, channel_stride, pixel_stride, cache_bytes, 2),
        )
        got = out.as_strided((2, 3, 61, 83), (pixels, channel_stride, 83 * pixel_stride, pixel_stride))
        assert status == 0 and torch.equal(got, wanted)
