"""label_resize in Triton, bit for bit against the reference."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import label_resize
from tests.gsskernels.inputs import INTEGERS, seeded


def assert_same(labels: Tensor, size: tuple[int, int], num_classes: int, ignore_index: int = 100) -> None:
    options = {"num_classes": num_classes, "ignore_index": ignore_index}
    got = label_resize(labels, size, **options)
    wanted = label_resize(labels, size, backend="reference", **options)
    assert got.dtype == wanted.dtype and torch.equal(got, wanted)


# One pixel; down, up, by a power of two, prime to prime; more columns than a block and more rows than a program.
@pytest.mark.parametrize(
    "dtype, size",
    [(d, (7, 21)) for d in INTEGERS] + [(torch.uint8, s) for s in ((1, 1), (13, 17), (26, 34), (5, 131), (10, 16))],
)
def test_sizes_and_dtypes(device: torch.device, dtype: torch.dtype, size: tuple[int, int]) -> None:
    for num_classes in (1, 5):
        labels = torch.randint(-1, num_classes + 3, (2, 13, 17), generator=seeded()).to(dtype).to(device)
        assert_same(labels, size, num_classes)
        assert_same(labels, size, num_classes, ignore_index=2)
    blocks = labels.repeat_interleave(3, 1).repeat_interleave(5, 2)
    assert_same(blocks, size, 5)


@pytest.mark.parametrize(
    ("dtype", "num_classes"),
    [
        *((dtype, k) for dtype in (torch.int32, torch.int64) for k in (255, 256, 70_000, 2**31 - 2, 2**31 - 1)),
        *((torch.int64, k) for k in (2**31, 2**40)),
    ],
)
def test_many_classes(device: torch.device, dtype: torch.dtype, num_classes: int) -> None:
    largest = torch.iinfo(dtype).max
    labels = torch.randint(-5, min(num_classes + 5, largest), (12, 9), generator=seeded(), dtype=dtype)
    labels[3:9, 4:9] = min(num_classes, largest)
    for ignore_index in (255, -1, num_classes - 1):
        assert_same(labels.to(device), (21, 25), num_classes, ignore_index)


def test_256_classes_in_uint8(device: torch.device) -> None:
    labels = torch.randint(0, 256, (12, 13), dtype=torch.uint8, generator=seeded()).to(device)
    for num_classes, ignore_index in ((256, 0), (256, 255), (255, 0), (255, 255)):
        assert_same(labels, (24, 30), num_classes, ignore_index)


def test_ids_far_outside_do_not_wrap_around(device: torch.device) -> None:
    assert_same(torch.tensor([[2**40, 2**32, -(2**33) + 1, 2**31, 256, 1]], device=device), (3, 13), 4)


def test_strides(device: torch.device) -> None:
    labels = torch.randint(0, 9, (3, 24, 30), generator=seeded()).to(device)
    for view in (
        labels.transpose(1, 2),
        labels[:, ::3, 1::2],
        labels[:, :, :1].expand(3, 24, 11),
        labels[:1].expand(4, -1, -1),
        labels[0],
        labels[:, None].transpose(0, 1),
        labels.view(3, 4, 6, 30)[:, ::2].permute(2, 1, 3, 0),
    ):
        assert_same(view, (5, 17), 8)


def test_empty(device: torch.device) -> None:
    assert label_resize(torch.zeros(0, 3, 4, device=device, dtype=torch.uint8), (5, 6), num_classes=3).shape == (
        0,
        5,
        6,
    )


@settings(derandomize=True, deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 90)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 200)),
    num_classes=st.integers(1, 300),
    seed=st.integers(0, 2**31),
)
def test_any_size(
    device: torch.device, shape: tuple[int, int], size: tuple[int, int], num_classes: int, seed: int
) -> None:
    labels = torch.randint(-1, num_classes + 2, shape, generator=seeded(seed), dtype=torch.int16).to(device)
    assert_same(labels, size, num_classes, ignore_index=num_classes // 2)
