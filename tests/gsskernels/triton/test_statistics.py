import pytest
import torch

from gsskernels import code_statistics
from tests.gsskernels.inputs import seeded


def assert_as_reference(x: torch.Tensor, codes: torch.Tensor, num_codes: int, dim: int) -> None:
    counts, sums = code_statistics(x, codes, num_codes, dim=dim)
    wanted = code_statistics(x, codes, num_codes, dim=dim, backend="reference")
    assert torch.equal(counts, wanted[0]) and counts.dtype == torch.int64
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums, wanted[1], rtol=1e-6, atol=1e-6)


# Segments within a chunk of 32 rows, over one border, over many chunks; codes nobody chose; features of several blocks.
@pytest.mark.parametrize(
    ("rows", "codes", "features"), [(200, 7, 5), (200, 300, 3), (400, 1, 2), (70, 2, 300), (1, 1, 1)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_against_the_reference(device: torch.device, dtype: torch.dtype, rows: int, codes: int, features: int) -> None:
    g = seeded(rows)
    x = torch.randn(rows, features, generator=g).to(device, dtype)
    chosen = torch.randint(-1, codes + 1, (rows,), generator=g).to(device)
    assert_as_reference(x, chosen, codes, 1)


def test_one_code_takes_nearly_all(device: torch.device) -> None:
    """More than 32 chunks of one segment, which pass 2 adds in several steps."""
    g = seeded()
    x = torch.randn(1500, 2, generator=g).to(device)
    chosen = torch.where(torch.rand(1500, generator=g) < 0.05, torch.randint(0, 9, (1500,), generator=g), 4)
    assert_as_reference(x, chosen.to(device), 9, 1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
def test_features_first_and_code_dtypes(device: torch.device, dtype: torch.dtype) -> None:
    g = seeded(1)
    x = torch.randn(2, 6, 5, 7, generator=g).to(device)
    chosen = torch.randint(0, 11, (2, 5, 7), generator=g).to(device, dtype)
    assert_as_reference(x, chosen, 9, 1)
    assert_as_reference(x.contiguous(memory_format=torch.channels_last), chosen, 9, 1)
    assert_as_reference(x, chosen, 200, 1)


def test_nothing_to_count(device: torch.device) -> None:
    counts, sums = code_statistics(
        torch.empty(0, 3, device=device), torch.empty(0, dtype=torch.int64, device=device), 4
    )
    assert counts.tolist() == [0] * 4 and sums.tolist() == [[0.0] * 3] * 4
    counts, _ = code_statistics(torch.ones(5, 0, device=device), torch.zeros(5, dtype=torch.int64, device=device), 2)
    assert counts.tolist() == [5, 0]
