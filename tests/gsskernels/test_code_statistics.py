import pytest
import torch

import gsskernels.reference.codebook as reference
from gsskernels import code_statistics
from tests.gsskernels.inputs import seeded


@pytest.mark.parametrize("dims", [1, 3, 65, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("chunk", [2**20, 1000])
def test_against_one_hot(dims: int, dtype: torch.dtype, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "CHUNK_SCORES", chunk)
    x = torch.randn(83, dims, generator=seeded()).to(dtype)
    codes = torch.randint(0, 9, (83,), generator=seeded(1))
    counts, sums = code_statistics(x, codes, 12)
    one_hot = torch.nn.functional.one_hot(codes, 12).double()
    assert counts.dtype == torch.int64 and torch.equal(counts, one_hot.sum(0).long())
    assert sums.dtype == torch.float32 and sums.shape == (12, dims)
    torch.testing.assert_close(sums.double(), one_hot.T @ x.double(), rtol=1e-7, atol=1e-6)


def test_rows_outside_the_codebook_are_left_out() -> None:
    counts, sums = code_statistics(torch.ones(5, 2), torch.tensor([0, -1, 3, 2, 2]), 3)
    assert counts.tolist() == [1, 0, 2] and sums.tolist() == [[1, 1], [0, 0], [2, 2]]


def test_channels_first_one_code_and_no_rows() -> None:
    x = torch.randn(2, 4, 3, 5, generator=seeded())
    codes = torch.randint(0, 6, (2, 3, 5), generator=seeded(1), dtype=torch.int32)
    plain = code_statistics(x.movedim(1, -1).reshape(-1, 4), codes.flatten(), 6)
    assert all(torch.equal(a, b) for a, b in zip(code_statistics(x, codes, 6, dim=1), plain, strict=True))
    counts, sums = code_statistics(x, torch.zeros_like(codes), 1, dim=1)
    assert counts.tolist() == [30]
    torch.testing.assert_close(sums[0], x.sum((0, 2, 3)))
    counts, sums = code_statistics(torch.empty(0, 4), torch.empty(0, dtype=torch.int64), 3)
    assert counts.tolist() == [0] * 3 and sums.eq(0).all() and sums.shape == (3, 4)


def test_same_input_same_bits() -> None:
    x, codes = torch.randn(3000, 8, generator=seeded()), torch.randint(0, 5, (3000,), generator=seeded(1))
    first = code_statistics(x, codes, 5)
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(code_statistics(x, codes, 5), first, strict=True))
