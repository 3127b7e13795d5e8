"""confusion_matrix against the reference: runs of equal pairs and noise, one table of counts and several."""

import pytest
import torch
from torch import Tensor

from gsskernels import confusion_matrix
from tests.gsskernels.inputs import INTEGERS, assert_as_reference, seeded


def assert_same(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> None:
    assert_as_reference(confusion_matrix, prediction, target, num_classes, ignore_index=ignore_index)


def maps(shape: tuple[int, ...], most: int, dtype: torch.dtype = torch.int64) -> tuple[Tensor, Tensor]:
    """Noise beside areas of one pair, as in label maps."""
    prediction = torch.randint(-2, most, shape, generator=seeded(1)).to(dtype)
    target = torch.randint(-2, most, shape, generator=seeded(2)).to(dtype)
    prediction[..., shape[-1] // 3 :] = 1
    target[..., shape[-1] // 3 :] = 2
    target[..., 3 * shape[-1] // 4 :] = 100
    return prediction, target


@pytest.fixture(params=["one table", "several"])
def tables(request: pytest.FixtureRequest, default_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For Triton, whose small problems have one table by default. Native has one a thread."""
    if request.param == "several" and default_backend == "triton":
        monkeypatch.setattr("gsskernels.triton.confusion.PIXELS_A_TABLE", 64)
        monkeypatch.setattr("gsskernels.triton.confusion.BLOCK", 256)


@pytest.mark.parametrize("target_dtype", INTEGERS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_dtypes(tables: None, dtype: torch.dtype, target_dtype: torch.dtype) -> None:
    prediction, target = maps((3, 40, 37), 22)
    for ignore_index in (255, 100, 2, -1):
        assert_same(prediction.to(dtype), target.to(target_dtype), 19, ignore_index)


# Around one vector, one segment of 2048 and several tasks.
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 2047, 2048, 2049, 100_003])
@pytest.mark.parametrize("classes", [1, 2, 19, 100])
def test_counting(count: int, classes: int) -> None:
    prediction = torch.randint(-2, classes + 2, (count,), generator=seeded(), dtype=torch.int16)
    target = torch.randint(-2, classes + 2, (count,), generator=seeded(1), dtype=torch.int64)
    assert_same(prediction, target, classes)
    assert_same(prediction, target, classes, ignore_index=0)
    runs = torch.arange(count).div(300, rounding_mode="floor").remainder(classes)
    assert_same(runs, runs.roll(50), classes, ignore_index=-1)


@pytest.mark.parametrize("classes", [1, 2, 19, 150, 300, 1000])
def test_class_counts(tables: None, classes: int) -> None:
    assert_same(*maps((2, 31, 66), classes + 2, torch.int32), classes)


@pytest.mark.parametrize("shape", [(1,), (700,), (5, 9), (2, 3, 4, 50), (3, 70, 61), (4, 1, 33), (3, 50, 1)])
def test_shapes_and_strides(tables: None, shape: tuple[int, ...]) -> None:
    prediction, target = maps(shape, 9)
    assert_same(prediction, target, 9)
    assert_same(prediction[..., ::3], target[..., ::3], 9)
    if len(shape) > 1:
        assert_same(prediction.transpose(-1, -2).contiguous().transpose(-1, -2), target, 9)
        assert_same(prediction[:1].expand(shape), target, 9)


def test_layouts() -> None:
    labels = torch.randint(0, 7, (3, 50, 60), generator=seeded())
    for view in (
        labels.transpose(1, 2),
        labels[:, :-1, ::2],
        labels[0].t(),
        labels[0, :, 0],
        labels.view(3, 5, 10, 60).permute(2, 0, 3, 1),
        labels[0, 0, 0],
    ):
        assert_same(view, view.flip(0) if view.dim() else view, 7)
        assert_same(view.contiguous(), view, 7)


def test_no_dimension_and_no_pixels() -> None:
    one = torch.tensor(1)
    assert confusion_matrix(one, one, 2).tolist() == [[0, 0], [0, 1]]
    for shape in ((0,), (0, 4, 5), (3, 0)):
        none = torch.zeros(shape, dtype=torch.uint8)
        assert confusion_matrix(none, none, 2).tolist() == [[0, 0], [0, 0]]


def test_ids_far_outside_do_not_wrap_around() -> None:
    far, near = torch.tensor([2**40, 2**32 + 1, -(2**33), 1]), torch.ones(4, dtype=torch.int64)
    assert confusion_matrix(far, near, 3).sum().item() == confusion_matrix(near, far, 3).sum().item() == 1


def test_one_table_where_many_would_not_fit(interpreted: bool) -> None:
    classes, count = 3000, 2_000 if interpreted else 50_000  # 72 MB a table
    prediction = torch.randint(0, classes + 5, (count,), generator=seeded(), dtype=torch.int32)
    target = torch.randint(0, classes + 5, (count,), generator=seeded(1), dtype=torch.int32)
    assert_same(prediction, target, classes, ignore_index=7)
