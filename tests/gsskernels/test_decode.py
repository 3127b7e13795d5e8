import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import maskige_decode
from tests.gsskernels.inputs import INF, NAN, seeded


def squared_distances(maskige: Tensor, palette: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Distances (*, K, H, W) by the official formula, computed on the CPU, which fixes the order of the sum."""
    x, p = maskige.cpu().to(dtype).unsqueeze(-4), palette.cpu().to(dtype)[:, :, None, None]
    return ((x - p) ** 2).sum(-3)


def assert_nearest(labels: Tensor, maskige: Tensor, palette: Tensor) -> None:
    """A class other than the float64 winner may differ by the rounding of float32 distances: 2 * 6 * 2^-24 * d^2."""
    d = squared_distances(maskige, palette)
    taken = d.gather(-3, labels.cpu().long().unsqueeze(-3)).squeeze(-3)
    assert bool((taken <= d.amin(-3) * (1 + 12 * 2.0**-24)).all())


# One class, few, the most that uint8 labels hold beside the ignore index 255, the first number that needs int32, many.
@pytest.mark.parametrize("num_classes", [1, 2, 19, 255, 256, 300])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_against_the_official_formula(num_classes: int, dtype: torch.dtype) -> None:
    palette = torch.randint(0, 256, (num_classes, 3), generator=seeded(num_classes))
    image = torch.rand(2, 3, 13, 17, generator=seeded()) * 300 - 20
    maskige = image.clamp(0, 255).to(dtype) if dtype is torch.uint8 else image.to(dtype)
    labels = maskige_decode(maskige, palette)
    assert labels.dtype == (torch.uint8 if num_classes <= 255 else torch.int32)
    assert torch.equal(labels.cpu().long(), squared_distances(maskige, palette, torch.float32).argmin(-3))
    assert_nearest(labels, maskige, palette)


@pytest.mark.parametrize("palette_dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
def test_uint8_is_exact_over_a_whole_slice_of_the_cube(palette_dtype: torch.dtype) -> None:
    palette = torch.randint(0, 256, (30, 3), generator=seeded())
    axis = torch.arange(256)
    slice_ = torch.stack([axis[:, None].expand(256, 256), axis.expand(256, 256), torch.full((256, 256), 77)])
    exact = ((slice_[None] - palette[:, :, None, None]) ** 2).sum(1)
    got = maskige_decode(slice_.to(torch.uint8), palette.to(palette_dtype))
    assert torch.equal(got.long(), exact.argmin(0))


def test_ties_go_to_the_lowest_class() -> None:
    palette = torch.tensor([[10, 0, 0], [0, 0, 0], [0, 10, 0], [0, 0, 0]])
    pixels = torch.tensor([[5.0, 0, 0], [0, 5, 0], [5, 5, 0], [0, 0, 0]]).T[:, None]
    assert maskige_decode(pixels, palette)[0].tolist() == [0, 1, 0, 1]


def test_nan_and_infinity() -> None:
    palette = torch.tensor([[1.0, 1, 1], [2, 2, 2]])
    pixels = torch.tensor([[NAN, 2, 2], [INF, 2, 2], [-INF, 2, 2], [NAN, NAN, NAN], [1e30, 2, 2], [2, 2, 2]]).T[:, None]
    labels, margin = maskige_decode(pixels, palette, margin=True)
    assert labels[0].tolist() == [0, 0, 0, 0, 0, 1]
    assert margin[0, :5].tolist() == [0.0] * 5 and margin[0, 5] > 0


def test_a_nan_distance_never_beats_an_infinite_one() -> None:
    palette = torch.tensor([[NAN, 0, 0], [NAN, 1, 1], [5, 5, 5]])
    pixels = torch.tensor([[INF, 0, 0], [4, 4, 4]]).T[:, None]
    assert maskige_decode(pixels, palette)[0].tolist() == [2, 2]


@pytest.mark.parametrize("shape", [(3, 0, 4), (3, 4, 0), (0, 3, 4, 5), (3, 1, 1), (2, 0, 3, 4, 5), (2, 2, 3, 3, 5)])
def test_leading_dimensions_and_empty_images(shape: tuple[int, ...]) -> None:
    palette = torch.tensor([[0, 0, 0], [255, 255, 255]])
    maskige = torch.rand(shape, generator=seeded()) * 255
    labels, margin = maskige_decode(maskige, palette, margin=True)
    assert labels.shape == margin.shape == (*shape[:-3], *shape[-2:])
    assert torch.equal(labels.bool(), maskige.sum(-3) > 382.5)


def test_strides_do_not_matter() -> None:
    palette = torch.randint(0, 256, (19, 3), generator=seeded())
    image = torch.rand(2, 3, 12, 10, generator=seeded()) * 255
    views = (
        image.contiguous(memory_format=torch.channels_last),
        image.transpose(-1, -2),
        image[..., ::2, 1::3],
        image[:, :, :1].expand(2, 3, 6, 10),
        image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    )
    for view in views:
        plain = maskige_decode(view.contiguous(), palette, size=(7, 9), margin=True)
        assert all(
            torch.equal(a, b)
            for a, b in zip(maskige_decode(view, palette, size=(7, 9), margin=True), plain, strict=True)
        )


def brute_margin(maskige: Tensor, palette: Tensor) -> Tensor:
    """(d2^2 - d1^2) / (2 |p1 - p2|) in float64; sorting is stable, so ties keep the lowest class first."""
    d, order = squared_distances(maskige, palette).sort(dim=-3, stable=True)
    first, second = order.select(-3, 0), order.select(-3, 1)
    between = (palette.cpu().double()[first] - palette.cpu().double()[second]).norm(dim=-1)
    gap = d.select(-3, 1) - d.select(-3, 0)
    return torch.where(between > 0, gap / (2 * between), 0.0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_margin_against_its_formula(dtype: torch.dtype) -> None:
    palette = torch.randint(0, 256, (19, 3), generator=seeded(1))
    maskige = (torch.rand(2, 3, 31, 29, generator=seeded()) * 255).to(dtype)
    labels, margin = maskige_decode(maskige, palette, margin=True)
    assert margin.dtype == torch.float32
    assert torch.equal(labels, maskige_decode(maskige, palette))
    # Coordinates around 255 carry float32 roundings of about 1.5e-5 each.
    torch.testing.assert_close(margin.cpu().double(), brute_margin(maskige, palette), rtol=1e-6, atol=1e-4)


def test_margin_by_hand() -> None:
    palette = torch.tensor([[0, 0, 0], [10, 0, 0], [10, 0, 0]])
    pixels = torch.tensor([[0.0, 0, 0], [2, 50, 0], [5, 0, 0], [9, 0, 0]]).T[:, None]
    labels, margin = maskige_decode(pixels, palette, margin=True)
    assert labels[0].tolist() == [0, 0, 0, 1]
    assert margin[0].tolist() == [5.0, 3.0, 0.0, 0.0]  # the last lies between two equal colours


def test_margin_of_one_class_is_infinite_also_when_resized() -> None:
    maskige = torch.rand(3, 4, 4, generator=seeded())
    for size, resize in ((None, "vote"), ((7, 3), "vote"), ((7, 3), "rgb")):
        labels, margin = maskige_decode(maskige, torch.tensor([[1, 2, 3]]), size=size, resize=resize, margin=True)
        assert bool((margin == INF).all()) and bool((labels == 0).all())


@pytest.mark.parametrize("size", [(26, 34), (13, 17), (5, 40), (1, 1)])
def test_resized_decode(size: tuple[int, int]) -> None:
    palette = torch.randint(0, 256, (7, 3), generator=seeded(1))
    maskige = torch.rand(2, 3, 13, 17, generator=seeded()) * 255
    small, small_margin = maskige_decode(maskige, palette, margin=True)
    planes = F.one_hot(small.long(), 7).permute(0, 3, 1, 2).float()
    votes = F.interpolate(planes.double(), size, mode="bilinear", align_corners=False)
    labels, margin = maskige_decode(maskige, palette, size=size, margin=True)
    taken = votes.gather(1, labels.long()[:, None])[:, 0]
    assert bool((votes.amax(1) - taken < 1e-6).all())
    scaled = F.interpolate(small_margin[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(margin, scaled)
    image = F.interpolate(maskige, size, mode="bilinear", align_corners=False)
    labels, margin = maskige_decode(maskige, palette, size=size, resize="rgb", margin=True)
    wanted, wanted_margin = maskige_decode(image, palette, margin=True)
    assert torch.equal(labels, wanted)
    torch.testing.assert_close(margin, wanted_margin, rtol=1e-5, atol=1e-3)  # a few roundings of colours up to 255


def test_the_two_resizes_differ_on_purpose() -> None:
    """Halfway between black and white, "rgb" finds the grey class that no input pixel has; the vote cannot."""
    palette = torch.tensor([[0, 0, 0], [128, 128, 128], [255, 255, 255]])
    image = torch.tensor([0, 255], dtype=torch.uint8).expand(3, 1, 2)
    assert maskige_decode(image, palette, size=(1, 3), resize="vote").tolist() == [[0, 0, 2]]
    assert maskige_decode(image, palette, size=(1, 3), resize="rgb").tolist() == [[0, 1, 2]]


def test_results_carry_no_gradient() -> None:
    maskige = torch.rand(3, 4, 4, requires_grad=True)
    labels, margin = maskige_decode(maskige, torch.tensor([[0, 0, 0], [1, 1, 1]]), margin=True)
    assert not margin.requires_grad and not labels.requires_grad


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    colors=st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=30),
    pixels=st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=30),
)
def test_any_integer_palette_is_exact(colors: list[tuple[int, ...]], pixels: list[tuple[int, ...]]) -> None:
    expected = [
        min(range(len(colors)), key=lambda k: sum((a - b) ** 2 for a, b in zip(p, colors[k], strict=True)))
        for p in pixels
    ]
    image, palette = torch.tensor(pixels).T[:, None], torch.tensor(colors)
    for dtype in (torch.uint8, torch.float32, torch.float16):
        assert maskige_decode(image.to(dtype), palette)[0].tolist() == expected
