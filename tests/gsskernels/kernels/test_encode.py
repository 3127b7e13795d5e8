"""maskige_encode bit for bit against the reference, for every way of painting that sizes and layouts choose."""

import pytest
import torch
from torch import Tensor

from gsskernels import maskige_encode
from tests.gsskernels.inputs import INF, INTEGERS, NAN, same, seeded

OUTPUTS = (torch.float32, torch.bfloat16, torch.float16, torch.uint8)


def assert_same(labels: Tensor, palette: Tensor, **options: object) -> None:
    got, wanted = (maskige_encode(labels, palette, backend=b, **options) for b in (None, "reference"))  # type: ignore[arg-type]
    assert same(got, wanted) and got.is_contiguous()


def patches(height: int, width: int, classes: int) -> Tensor:
    """Large uniform areas with some noise, as in label maps."""
    coarse = torch.randint(0, classes, (height // 32 + 1, width // 100 + 1), generator=seeded(1))
    labels = coarse.repeat_interleave(32, 0).repeat_interleave(100, 1)[:height, :width].contiguous()
    noise = torch.rand(labels.shape, generator=seeded(2)) < 0.01
    return torch.where(noise, torch.randint(-1, classes + 1, labels.shape, generator=seeded(3)), labels)


# Class counts around the capacity of registers (31 of 32 bits, 63 of 16, 255 of 8), beyond a byte, and, for Triton,
# tables of 2, 4, 32, 256 and 512 rows and no table at all.
CLASSES = (1, 2, 15, 16, 19, 31, 32, 63, 64, 127, 128, 150, 254, 255, 256, 300, 1000, 1500)


@pytest.mark.parametrize("dtype", OUTPUTS)
def test_class_counts(dtype: torch.dtype, interpreted: bool) -> None:
    options = {"dtype": dtype, "ignore_color": (1.5, -4, 300)}
    for classes in (1, 2, 19, 150, 300, 1500) if interpreted else CLASSES:
        palette = torch.rand(classes, 3, generator=seeded(classes)) * 300 - 20
        labels = torch.randint(-3, classes + 3, (2, 37, 101), generator=seeded())
        labels[1] = patches(37, 101, classes)
        if interpreted:
            labels = labels[:, :13, :17]
        assert_same(labels, palette.round().clamp(0, 255), ignore_index=0, **options)
        if interpreted and dtype is torch.bfloat16:
            continue  # the interpreter truncates to bfloat16, where a GPU rounds
        dtypes = (torch.uint8, torch.int16, torch.int32, torch.int64) if classes <= 256 else (torch.int32,)
        for label_dtype in dtypes[-1:] if interpreted else dtypes:
            assert_same(labels.to(label_dtype), palette, scale=1 / 3, shift=-2.5, **options)


# Around vectors, runs of 64, blocks of 2048 pixels and several threads; odd, so that planes are not aligned.
SIZES = [(0, 5), (5, 0), (1, 1), (1, 63), (1, 64), (1, 65), (3, 17), (2, 2047), (1, 2049), (333, 517)]


@pytest.mark.parametrize("dtype", OUTPUTS)
@pytest.mark.parametrize("past_caches", [False, True])
def test_sizes(
    dtype: torch.dtype, past_caches: bool, default_backend: str, interpreted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if default_backend == "native":
        monkeypatch.setattr("gsskernels.native.encode.CACHE_BYTES", 0 if past_caches else 2**40)
    elif past_caches:
        monkeypatch.setattr("gsskernels.triton.encode.NUM_WARPS", 1)  # more than one block of a line
    palette = torch.randint(0, 256, (19, 3), generator=seeded())
    for shape in [(0, 5), (5, 0), (1, 1), (33, 35)] if interpreted else SIZES:
        whole = patches(*shape, 19)
        for labels in (whole,) if interpreted else (whole, whole.to(torch.uint8), whole[None, None]):
            assert_same(labels, palette, dtype=dtype)
            assert_same(labels.transpose(-1, -2), palette, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_layouts(dtype: torch.dtype, interpreted: bool) -> None:
    palette = torch.randint(0, 256, (40, 3), generator=seeded()).to(torch.int16)
    height, width = (10, 30) if interpreted else (70, 210)
    labels = torch.randint(0, 41, (3, height, width), generator=seeded(1), dtype=torch.uint8)
    for view in (
        labels.transpose(1, 2),
        labels[:, ::2, 1::3],
        labels[:, :-1, 3:-4],
        labels[:1].expand(5, height, width),
        labels[:, :, :1].expand(3, height, 11),
        labels.permute(1, 2, 0) if not interpreted else labels.permute(1, 2, 0)[:, ::3],
        labels[0],
        labels[:, :, 2:3],
        labels[:, :1],
        labels[:, None].transpose(0, 1),
        labels.view(3, height // 10, 10, width).permute(2, 0, 1, 3),
        labels.view(3, height // 10, 10, width)[:, ::2].permute(2, 1, 3, 0),
    ):
        assert_same(view, palette, dtype=dtype)
    for strided in (palette.t().contiguous().t(), palette[::2], palette[:1].expand(40, 3)):
        assert_same(labels, strided, dtype=dtype)


@pytest.mark.parametrize("label_dtype", INTEGERS)
@pytest.mark.parametrize("dtype", [*INTEGERS, *OUTPUTS[:-1], torch.float64])
def test_palette_dtypes(dtype: torch.dtype, label_dtype: torch.dtype) -> None:
    palette = (torch.rand(20, 3, generator=seeded()) * 127).to(dtype)
    labels = torch.randint(-3, 24, (9, 33), generator=seeded()).to(label_dtype)
    labels[0, :3] = torch.tensor([100, 18, 19]).to(label_dtype)
    for ignore_index in (100, 18, -1, 2**40):
        assert_same(labels, palette, scale=0.7, shift=0.1, ignore_index=ignore_index)


def test_values_that_do_not_fit(interpreted: bool) -> None:
    """uint8 rounds halves to even and clamps; float outputs overflow and underflow as the reference."""
    values = [-3.0, 0.49, 0.5, 1.5, 2.5, 254.5, 254.6, 255.4, 255.5, 300.0, 1e30, INF, -INF]
    palette = torch.tensor(values)[:, None].expand(-1, 3)
    assert_same(torch.arange(len(values))[None], palette, dtype=torch.uint8)
    palette = torch.tensor([[NAN, INF, -INF], [1e6, -1e6, 65519.0], [1e-40, 6e-8, 2.5], [0.5, 1.5, 254.5]])
    labels = torch.arange(70).remainder(5).view(7, 10)
    for dtype in OUTPUTS[:1] if interpreted else OUTPUTS[:3]:
        got, wanted = (maskige_encode(labels, palette, dtype=dtype, backend=b) for b in (None, "reference"))
        torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)
    assert_same(labels, palette[1:], dtype=torch.uint8)


def test_labels_far_outside_do_not_wrap_around() -> None:
    assert_same(torch.tensor([[2**40, 2**32, -(2**33) + 1, 2**31, 256, 1]]), torch.arange(12).view(4, 3))


def test_ignore_indices_outside_every_dtype() -> None:
    palette = torch.randint(0, 256, (5, 3), generator=seeded())
    labels = torch.randint(-128, 128, (13, 70), generator=seeded()).to(torch.int8)
    for ignore_index in (-(2**62), -1, 0, 3, 255, 2**31, 2**62):
        assert_same(labels, palette, ignore_index=ignore_index, ignore_color=(9, 8, 7))


@pytest.mark.parametrize("shape", [(0, 7), (5, 0), (0, 5, 7), (2, 0, 4, 5)])
def test_empty_maps(shape: tuple[int, ...]) -> None:
    assert_same(torch.zeros(shape, dtype=torch.uint8), torch.zeros(3, 3))
