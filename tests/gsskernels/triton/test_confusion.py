"""confusion_matrix in Triton against the reference: runs that agree and runs that do not, one table and several."""

import pytest
import torch
from torch import Tensor

from gsskernels import confusion_matrix
from gsskernels.triton import confusion
from tests.gsskernels.inputs import INTEGERS, seeded


def maps(shape: tuple[int, ...], most: int, dtype: torch.dtype = torch.int64) -> tuple[Tensor, Tensor]:
    """Noise around areas of one pair, as in label maps."""
    prediction = torch.randint(-2, most, shape, generator=seeded(1)).to(dtype)
    target = torch.randint(-2, most, shape, generator=seeded(2)).to(dtype)
    prediction[..., shape[-1] // 3 :] = 1
    target[..., shape[-1] // 3 :] = 2
    target[..., 3 * shape[-1] // 4 :] = 100
    return prediction, target


def assert_same(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> None:
    got = confusion_matrix(prediction, target, num_classes, ignore_index=ignore_index)
    wanted = confusion_matrix(prediction, target, num_classes, ignore_index=ignore_index, backend="reference")
    assert got.dtype == torch.int64 and torch.equal(got, wanted)


@pytest.fixture(params=["one table", "several"])
def tables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "several":
        monkeypatch.setattr(confusion, "PIXELS_A_TABLE", 64)
        monkeypatch.setattr(confusion, "BLOCK", 256)


@pytest.mark.parametrize("target_dtype", INTEGERS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_dtypes(device: torch.device, tables: None, dtype: torch.dtype, target_dtype: torch.dtype) -> None:
    prediction, target = maps((3, 40, 37), 22)
    for ignore_index in (255, 100, 2, -1):
        assert_same(prediction.to(device, dtype), target.to(device, target_dtype), 19, ignore_index)


@pytest.mark.parametrize("num_classes", [1, 2, 19, 150, 300, 1000])
def test_class_counts(device: torch.device, tables: None, num_classes: int) -> None:
    prediction, target = maps((2, 31, 66), num_classes + 2, torch.int32)
    assert_same(prediction.to(device), target.to(device), num_classes)


@pytest.mark.parametrize("shape", [(1,), (700,), (5, 9), (2, 3, 4, 50), (3, 70, 61), (4, 1, 33), (3, 50, 1)])
def test_shapes_and_strides(device: torch.device, tables: None, shape: tuple[int, ...]) -> None:
    prediction, target = maps(shape, 9)
    prediction, target = prediction.to(device), target.to(device)
    assert_same(prediction, target, 9)
    assert_same(prediction[..., ::3], target[..., ::3], 9)
    if len(shape) > 1:
        assert_same(prediction.transpose(-1, -2).contiguous().transpose(-1, -2), target, 9)
        assert_same(prediction[:1].expand(shape), target, 9)


def test_no_dimension_and_no_pixels(device: torch.device) -> None:
    one = torch.tensor(1, device=device)
    assert confusion_matrix(one, one, 2).tolist() == [[0, 0], [0, 1]]
    for shape in ((0,), (0, 4, 5), (3, 0)):
        none = torch.zeros(shape, dtype=torch.uint8, device=device)
        assert confusion_matrix(none, none, 2).tolist() == [[0, 0], [0, 0]]


def test_ids_far_outside_do_not_wrap_around(device: torch.device) -> None:
    far = torch.tensor([2**40, 2**32 + 1, -(2**33), 1], device=device)
    near = torch.ones(4, dtype=torch.int64, device=device)
    assert confusion_matrix(far, near, 3).sum().item() == confusion_matrix(near, far, 3).sum().item() == 1


def test_private_tables_are_bounded(device: torch.device) -> None:
    for num_classes in (1, 19, 150, 1000):
        tables = confusion.Tables(device, num_classes, 2**40)
        assert tables.number == 1 or tables.counts.numel() * 8 <= confusion.SCRATCH
    assert confusion.wide(46341) and not confusion.wide(46340)
