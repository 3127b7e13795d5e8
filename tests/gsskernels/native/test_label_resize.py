"""label_resize of every instruction set, bit for bit against the reference."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import label_resize
from tests.gsskernels.inputs import INTEGERS, seeded


def assert_same(labels: Tensor, size: tuple[int, int], num_classes: int, ignore_index: int = 100) -> None:
    options = {"num_classes": num_classes, "ignore_index": ignore_index}
    got = label_resize(labels, size, backend="native", **options)
    wanted = label_resize(labels, size, backend="reference", **options)
    assert got.dtype == wanted.dtype and torch.equal(got, wanted)


# Below and above vectors of 4, 8, 16 lanes and of 64 bytes; one pixel; down, up, and rows that no output reads.
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (13, 17), (26, 34), (4, 63), (40, 65), (9, 130), (61, 16)])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_sizes_and_dtypes(isa: str, dtype: torch.dtype, size: tuple[int, int]) -> None:
    for num_classes in (1, 5, 120):
        labels = torch.randint(0, min(num_classes + 3, 127), (2, 13, 17), generator=seeded()).to(dtype)
        assert_same(labels, size, num_classes)
        assert_same(labels.repeat_interleave(3, 1).repeat_interleave(5, 2), size, num_classes, ignore_index=2)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("num_classes", [255, 256, 257, 70_000, 2**31 - 1, 2**40])
def test_many_classes(isa: str, dtype: torch.dtype, num_classes: int) -> None:
    if num_classes > torch.iinfo(dtype).max:
        return
    labels = torch.randint(-5, min(num_classes + 5, torch.iinfo(dtype).max), (20, 21), generator=seeded(), dtype=dtype)
    labels[3:9, 4:9] = min(num_classes, torch.iinfo(dtype).max)
    for ignore_index in (255, -1, num_classes - 1):
        assert_same(labels, (41, 50), num_classes, ignore_index)


def test_256_classes_in_uint8(isa: str) -> None:
    labels = torch.randint(0, 256, (30, 33), dtype=torch.uint8, generator=seeded())
    for ignore_index in (0, 255):
        assert_same(labels, (64, 70), 256, ignore_index)
        assert_same(labels, (64, 70), 255, ignore_index)


def test_ids_far_outside_do_not_wrap_around(isa: str) -> None:
    labels = torch.tensor([[2**40, 2**32, -(2**33) + 1, 2**31, 256, 1]])
    assert_same(labels, (3, 13), 4)


def test_strides(isa: str) -> None:
    labels = torch.randint(0, 9, (3, 24, 30), generator=seeded())
    for view in (
        labels.transpose(1, 2),
        labels[:, ::3, 1::2],
        labels[:, :, :1].expand(3, 24, 11),
        labels[:1].expand(4, -1, -1),
        labels[0],
        labels[None],
        labels[:, None].transpose(0, 1),
    ):
        assert_same(view, (31, 37), 8)


def test_empty(isa: str) -> None:
    assert label_resize(torch.zeros(0, 3, 4, dtype=torch.uint8), (5, 6), num_classes=3, backend="native").shape == (
        0,
        5,
        6,
    )


def test_results_do_not_depend_on_threads(isa: str) -> None:
    labels = torch.randint(0, 4, (3, 90, 120), generator=seeded(), dtype=torch.uint8)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(label_resize(labels, (200, 301), num_classes=4, backend="native"))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    assert_same(labels, (200, 301), 4)


@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 90)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 200)),
    num_classes=st.integers(1, 300),
    seed=st.integers(0, 2**31),
)
def test_any_size(isa: str, shape: tuple[int, int], size: tuple[int, int], num_classes: int, seed: int) -> None:
    labels = torch.randint(-1, num_classes + 2, shape, generator=seeded(seed), dtype=torch.int16)
    assert_same(labels, size, num_classes, ignore_index=num_classes // 2)
