import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import label_resize
from tests.gsskernels.inputs import seeded

# Votes are multiples of 1 / (4 H' W'), far above float32 rounding at these sizes: rounding may decide only where two
# classes tie in exact arithmetic. The float64 planes of the check have roundings of 1e-14.
TIE = 1e-9
# Up, down, odd, exact 2x, one pixel, one axis only, up and down at once, prime to prime.
SIZES = [
    ((8, 8), (16, 16)),
    ((8, 8), (32, 32)),
    ((16, 16), (8, 8)),
    ((13, 17), (13, 17)),
    ((7, 9), (21, 27)),
    ((20, 20), (48, 48)),
    ((33, 17), (24, 24)),
    ((12, 12), (5, 5)),
    ((1, 1), (5, 3)),
    ((1, 6), (4, 6)),
    ((6, 1), (3, 7)),
    ((31, 37), (41, 29)),
    ((9, 30), (30, 9)),
    ((5, 4), (1, 1)),
    ((64, 48), (101, 75)),
]
HAS_FMA = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def planes(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return F.one_hot(labels.long(), num_classes).permute(0, 3, 1, 2).to(dtype)


def resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(planes, size, mode="bilinear", align_corners=False)


def assert_votes(got: Tensor, labels: Tensor, size: tuple[int, int], num_classes: int) -> None:
    votes = resized(planes(labels, num_classes, torch.float64), size)
    taken = votes.gather(1, got.long()[:, None])[:, 0]
    assert bool((votes.amax(1) - taken < TIE).all())


@pytest.mark.parametrize(("small", "size"), SIZES)
@pytest.mark.parametrize("num_classes", [2, 5, 40])
def test_against_one_hot_planes(small: tuple[int, int], size: tuple[int, int], num_classes: int) -> None:
    labels = torch.randint(0, num_classes, (3, *small), generator=seeded(1))
    got = label_resize(labels, size, num_classes=num_classes)
    assert_votes(got, labels, size, num_classes)
    official = resized(planes(labels, num_classes), size).argmax(1)
    if HAS_FMA:  # PyTorch then breaks ties by the same roundings, but for what its compiler fused besides
        assert (got != official).float().mean() < 1e-3


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_powers_of_two_are_exact_everywhere(factor: int) -> None:
    """All weights are multiples of 1/256, so no formula rounds, and ties are exact."""
    labels = torch.randint(0, 3, (4, 11, 6), generator=seeded(2))
    size = (11 * factor, 6 * factor)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        wanted = resized(planes(labels, 3).contiguous(memory_format=memory_format), size).argmax(1)
        assert torch.equal(label_resize(labels, size, num_classes=3), wanted)


def test_exactly_twice_is_nearest() -> None:
    labels = torch.randint(0, 5, (9, 7), generator=seeded())
    nearest = labels.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(label_resize(labels, (18, 14), num_classes=5), nearest)


def test_ties_go_to_the_lowest_class_and_ignore_comes_last() -> None:
    def halfway(left: int, right: int) -> int:
        return int(label_resize(torch.tensor([[left, right]]), (1, 1), num_classes=4)[0, 0])

    assert halfway(3, 1) == 1 and halfway(1, 3) == 1
    assert halfway(255, 3) == 3 and halfway(3, 255) == 3  # tied with the highest class, ignored pixels lose
    assert halfway(255, 255) == 255
    assert halfway(-7, 4) == 255  # both lie outside 0..3 and vote together


@pytest.mark.parametrize("ignore_index", [255, 0, 2])
def test_ignored_pixels_are_one_more_class(ignore_index: int) -> None:
    labels = torch.randint(-2, 8, (2, 13, 10), generator=seeded(3))
    valid = (labels >= 0) & (labels < 5) & (labels != ignore_index)
    extended = torch.where(valid, labels, 5)
    for size in ((26, 20), (9, 9), (30, 7)):
        got = label_resize(labels, size, num_classes=5, ignore_index=ignore_index)
        plain = label_resize(extended, size, num_classes=6)
        assert torch.equal(got, torch.where(plain == 5, ignore_index, plain))
        assert_votes(plain, extended, size, 6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    labels = torch.randint(0, 6, (4, 5), generator=seeded())
    ignore_index = 100
    got = label_resize(labels.to(dtype), (9, 9), num_classes=4, ignore_index=ignore_index)
    assert got.dtype == dtype
    assert torch.equal(got.long(), label_resize(labels, (9, 9), num_classes=4, ignore_index=ignore_index))


def test_256_classes_in_uint8() -> None:
    labels = torch.arange(256, dtype=torch.uint8).view(16, 16)
    assert torch.equal(label_resize(labels, (16, 16), num_classes=256), labels)


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 4, 5), (4, 5), (2, 3, 4, 5)])
def test_leading_dimensions(shape: tuple[int, ...]) -> None:
    labels = torch.randint(0, 4, shape, generator=seeded())
    got = label_resize(labels, (7, 3), num_classes=4)
    assert got.shape == (*shape[:-2], 7, 3)
    maps = [label_resize(m, (7, 3), num_classes=4) for m in labels.reshape(-1, 4, 5)]
    assert torch.equal(got.reshape(-1, 7, 3), torch.stack(maps) if maps else got.reshape(-1, 7, 3))


def test_strides_do_not_matter() -> None:
    labels = torch.randint(0, 4, (10, 12), generator=seeded())
    for view in (labels.t(), labels[::3, 1::2], labels[:, :1].expand(10, 5)):
        assert torch.equal(
            label_resize(view, (8, 8), num_classes=4), label_resize(view.contiguous(), (8, 8), num_classes=4)
        )


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    n=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    m=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    num_classes=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_any_size(n: tuple[int, int], m: tuple[int, int], num_classes: int, seed: int) -> None:
    labels = torch.randint(0, num_classes, (1, *n), generator=seeded(seed))
    assert_votes(label_resize(labels, m, num_classes=num_classes), labels, m, num_classes)
