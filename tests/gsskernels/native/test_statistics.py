"""Confusion matrices and code statistics on every instruction set."""

import pytest
import torch

from gsskernels import code_statistics, confusion_matrix
from tests.gsskernels.inputs import INTEGERS, seeded


def assert_same_counts(prediction: torch.Tensor, target: torch.Tensor, classes: int, ignore_index: int = 255) -> None:
    options = {"num_classes": classes, "ignore_index": ignore_index}
    got = confusion_matrix(prediction, target, **options, backend="native")
    assert torch.equal(got, confusion_matrix(prediction, target, **options, backend="reference"))


# Around one vector, one segment of 2048 and several tasks.
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 2047, 2048, 2049, 100_003])
@pytest.mark.parametrize("classes", [1, 2, 19, 100])
def test_counting(isa: str, count: int, classes: int) -> None:
    prediction = torch.randint(-2, classes + 2, (count,), generator=seeded(), dtype=torch.int16)
    target = torch.randint(-2, classes + 2, (count,), generator=seeded(1), dtype=torch.int64)
    assert_same_counts(prediction, target, classes)
    assert_same_counts(prediction, target, classes, ignore_index=0)
    runs = torch.arange(count).div(300, rounding_mode="floor").remainder(classes)
    assert_same_counts(runs, runs.roll(50), classes, ignore_index=-1)


@pytest.mark.parametrize("prediction_dtype", INTEGERS)
@pytest.mark.parametrize("target_dtype", INTEGERS)
def test_dtypes(isa: str, prediction_dtype: torch.dtype, target_dtype: torch.dtype) -> None:
    values = torch.randint(-100, 400, (2, 40, 50), generator=seeded())
    assert_same_counts(values.to(prediction_dtype), values.flip(0).to(target_dtype), 100)


def test_layouts_of_labels(isa: str) -> None:
    labels = torch.randint(0, 7, (3, 50, 60), generator=seeded())
    for view in (
        labels.transpose(1, 2),
        labels[:, :-1, ::2],
        labels[:1].expand(3, 50, 60),
        labels[0],
        labels[0].t(),
        labels[0, 0],
        labels[0, :, 0],
        labels.view(3, 5, 10, 60).permute(2, 0, 3, 1),
        labels[0, 0, 0],
    ):
        assert_same_counts(view, view.flip(0) if view.dim() else view, 7)
        assert_same_counts(view.contiguous(), view, 7)


def test_one_table_for_all_threads_where_many_would_not_fit(isa: str) -> None:
    classes = 3000  # 72 MB a table
    prediction = torch.randint(0, classes + 5, (50_000,), generator=seeded(), dtype=torch.int32)
    target = torch.randint(0, classes + 5, (50_000,), generator=seeded(1), dtype=torch.int32)
    assert_same_counts(prediction, target, classes, ignore_index=7)


# Features around slices of 4, 8 and 16; rows around blocks of 128.
@pytest.mark.parametrize("features", [0, 1, 3, 4, 15, 16, 17, 64, 130])
@pytest.mark.parametrize("rows", [0, 1, 127, 128, 129, 1000])
@pytest.mark.parametrize("codes", [1, 7, 513])
def test_sums(isa: str, features: int, rows: int, codes: int) -> None:
    x = torch.randn(rows, features, generator=seeded())
    ids = torch.randint(-1, codes + 1, (rows,), generator=seeded(1))
    got = code_statistics(x, ids, codes, backend="native")
    wanted = code_statistics(x.double(), ids, codes, backend="reference")
    assert torch.equal(got[0], wanted[0])
    assert torch.equal(got[1], wanted[1].float()) or (got[1] - wanted[1]).abs().max() <= 1e-5  # summed in float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("code_dtype", INTEGERS)
def test_dtypes_of_rows(isa: str, dtype: torch.dtype, code_dtype: torch.dtype) -> None:
    x = torch.randn(2, 21, 9, 15, generator=seeded()).to(dtype)
    ids = torch.randint(0, 90, (2, 9, 15), generator=seeded()).to(code_dtype)
    got, wanted = (code_statistics(x, ids, 80, dim=1, backend=b) for b in ("native", "reference"))
    assert torch.equal(got[0], wanted[0]) and got[1].dtype == wanted[1].dtype
    torch.testing.assert_close(got[1], wanted[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_layouts_of_rows(isa: str, dim: int) -> None:
    x = torch.randn(4, 6, 5, 7, generator=seeded())
    shape = [n for d, n in enumerate(x.shape) if d != dim]
    ids = torch.randint(0, 11, shape, generator=seeded())
    for layout in (
        x,
        x.contiguous(memory_format=torch.channels_last),
        x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
    ):
        got = code_statistics(layout, ids, 11, dim=dim, backend="native")
        wanted = code_statistics(x.contiguous(), ids.clone(), 11, dim=dim, backend="native")
        assert torch.equal(got[0], wanted[0]) and torch.equal(got[1], wanted[1])
    reference = code_statistics(x, ids, 11, dim=dim, backend="reference")
    torch.testing.assert_close(wanted[1], reference[1])


def test_nan_and_infinity_stay_in_their_codes(isa: str) -> None:
    x = torch.tensor([[1.0, float("nan")], [float("inf"), 2.0], [3.0, 4.0], [5.0, 6.0]])
    counts, sums = code_statistics(x, torch.tensor([0, 1, 2, 2]), 3, backend="native")
    assert counts.tolist() == [1, 1, 2] and sums[2].tolist() == [8.0, 10.0]
    assert sums[0, 1].isnan() and sums[1, 0].isinf() and sums[0, 0] == 1 and sums[1, 1] == 2
