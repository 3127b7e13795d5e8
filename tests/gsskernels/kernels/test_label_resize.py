"""label_resize bit for bit against the reference."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import label_resize
from tests.gsskernels.inputs import INTEGERS, assert_as_reference, same, seeded


def assert_same(labels: Tensor, size: tuple[int, int], num_classes: int, ignore_index: int = 100) -> None:
    assert_as_reference(label_resize, labels, size, num_classes=num_classes, ignore_index=ignore_index)


# Around vectors of 4, 8, 16 lanes and of 64 bytes; one pixel; down, up, by a power of two, prime to prime, and rows
# that no output reads; more columns than a block and more rows than a program.
@pytest.mark.parametrize("dtype", INTEGERS)
def test_sizes_and_dtypes(dtype: torch.dtype, interpreted: bool) -> None:
    sizes = [(1, 1), (7, 3), (13, 17), (26, 34), (4, 63), (40, 65), (9, 130), (61, 16), (5, 131), (10, 16), (7, 21)]
    if interpreted:
        sizes = sizes[-1:] if dtype is not torch.uint8 else [(1, 1), (13, 17), (26, 34), (5, 131), (10, 16), (7, 21)]
    for num_classes in (1, 5) if interpreted else (1, 5, 120):
        most = min(num_classes + 3, 127)
        labels = torch.randint(-1 if dtype.is_signed else 0, most, (2, 13, 17), generator=seeded()).to(dtype)
        for size in sizes:
            assert_same(labels, size, num_classes)
            assert_same(labels, size, num_classes, ignore_index=2)
            if num_classes == 5 or not interpreted:
                blocks = labels.repeat_interleave(3, 1).repeat_interleave(5, 2)
                assert_same(blocks, size, num_classes, ignore_index=2)


@pytest.mark.parametrize(
    ("dtype", "num_classes"),
    [
        *((dtype, k) for dtype in (torch.int32, torch.int64) for k in (255, 256, 257, 70_000, 2**31 - 2, 2**31 - 1)),
        *((torch.int64, k) for k in (2**31, 2**40)),
    ],
)
def test_many_classes(dtype: torch.dtype, num_classes: int, interpreted: bool) -> None:
    largest = torch.iinfo(dtype).max
    shape, size = ((12, 9), (21, 25)) if interpreted else ((20, 21), (41, 50))
    labels = torch.randint(-5, min(num_classes + 5, largest), shape, generator=seeded(), dtype=dtype)
    labels[3:9, 4:9] = min(num_classes, largest)
    for ignore_index in (255, -1, num_classes - 1):
        assert_same(labels, size, num_classes, ignore_index)


def test_256_classes_in_uint8() -> None:
    labels = torch.randint(0, 256, (12, 33), dtype=torch.uint8, generator=seeded())
    for num_classes, ignore_index in ((256, 0), (256, 255), (255, 0), (255, 255)):
        assert_same(labels, (24, 70), num_classes, ignore_index)


def test_ids_far_outside_do_not_wrap_around() -> None:
    assert_same(torch.tensor([[2**40, 2**32, -(2**33) + 1, 2**31, 256, 1]]), (3, 13), 4)


def test_strides(interpreted: bool) -> None:
    labels = torch.randint(0, 9, (3, 24, 30), generator=seeded())
    for view in (
        labels.transpose(1, 2),
        labels[:, ::3, 1::2],
        labels[:, :, :1].expand(3, 24, 11),
        labels[:1].expand(4, -1, -1),
        labels[0],
        labels[None],
        labels[:, None].transpose(0, 1),
        labels.view(3, 4, 6, 30)[:, ::2].permute(2, 1, 3, 0),
    ):
        assert_same(view, (5, 17), 8)
        if not interpreted:
            assert_same(view, (31, 37), 8)


def test_empty() -> None:
    assert label_resize(torch.zeros(0, 3, 4, dtype=torch.uint8), (5, 6), num_classes=3).shape == (0, 5, 6)


def test_threads_do_not_show(interpreted: bool) -> None:
    if interpreted:
        pytest.skip("the interpreter has one thread")
    labels = torch.randint(0, 4, (3, 90, 120), generator=seeded(), dtype=torch.uint8)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(label_resize(labels, (200, 301), num_classes=4))
    finally:
        torch.set_num_threads(before)
    assert same(results[0], results[1]) and same(results[0], results[2])
    assert_same(labels, (200, 301), 4)


@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 90)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 200)),
    num_classes=st.integers(1, 300),
    seed=st.integers(0, 2**31),
)
def test_any_size(
    interpreted: bool, shape: tuple[int, int], size: tuple[int, int], num_classes: int, seed: int
) -> None:
    labels = torch.randint(-1, num_classes + 2, shape, generator=seeded(seed), dtype=torch.int16)
    size = (min(size[0], 5), size[1]) if interpreted else size
    assert_same(labels, size, num_classes, ignore_index=num_classes // 2)
