"""code_statistics against the reference: equal counts, sums to the rounding of float32."""

import pytest
import torch
from torch import Tensor

from gsskernels import code_statistics
from tests.gsskernels.inputs import FLOATS, INF, INTEGERS, NAN, assert_as_copies, gaussian, seeded


def assert_same(x: Tensor, codes: Tensor, num_codes: int, dim: int = 1) -> None:
    counts, sums = code_statistics(x, codes, num_codes, dim=dim)
    wanted = code_statistics(x.double(), codes, num_codes, dim=dim, backend="reference")
    assert torch.equal(counts, wanted[0]) and counts.dtype == torch.int64
    assert sums.dtype == (torch.float64 if x.dtype is torch.float64 else torch.float32)
    torch.testing.assert_close(sums, wanted[1].to(sums.dtype), rtol=1e-6, atol=1e-6)


# Features around slices of 4, 8 and 16 and blocks of 64; rows around blocks of 128 and, for Triton, segments within a
# chunk of 32 rows, over one border and over many chunks; codes that no row has.
@pytest.mark.parametrize("codes", [1, 7, 513])
def test_sums(codes: int, interpreted: bool) -> None:
    for rows in (0, 1, 129) if interpreted else (0, 1, 127, 128, 129, 1000):
        for features in (0, 3, 70) if interpreted else (0, 1, 3, 4, 15, 16, 17, 64, 130):
            ids = torch.randint(-1, codes + 1, (rows,), generator=seeded(1))
            assert_same(gaussian(rows, features), ids, codes)


def test_one_code_takes_nearly_all() -> None:
    """More than 32 chunks of one segment, which pass 2 of Triton adds in several steps."""
    chosen = torch.where(
        torch.rand(1500, generator=seeded()) < 0.05, torch.randint(0, 9, (1500,), generator=seeded()), 4
    )
    assert_same(gaussian(1500, 2), chosen, 9)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("code_dtype", INTEGERS)
def test_dtypes(dtype: torch.dtype, code_dtype: torch.dtype) -> None:
    x = gaussian(2, 21, 5, 7).to(dtype)
    codes = torch.randint(0, 90, (2, 5, 7), generator=seeded()).to(code_dtype)
    assert_same(x, codes, 80)


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_layouts(dim: int) -> None:
    x = gaussian(4, 6, 5, 7)
    codes = torch.randint(0, 11, [n for d, n in enumerate(x.shape) if d != dim], generator=seeded())
    assert_same(x, codes, 11, dim)
    for layout in (
        x.contiguous(memory_format=torch.channels_last),
        x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
    ):
        assert_as_copies(code_statistics, layout, codes, 11, dim=dim)


def test_nan_and_infinity_stay_in_their_codes() -> None:
    x = torch.tensor([[1.0, NAN], [INF, 2.0], [3.0, 4.0], [5.0, 6.0]])
    counts, sums = code_statistics(x, torch.tensor([0, 1, 2, 2]), 3)
    assert counts.tolist() == [1, 1, 2] and sums[2].tolist() == [8.0, 10.0]
    assert sums[0, 1].isnan() and sums[1, 0].isinf() and sums[0, 0] == 1 and sums[1, 1] == 2
