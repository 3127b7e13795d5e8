"""nearest_code and linear_argmax on every instruction set give exactly the indices of the reference."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import linear_argmax, nearest_code
from tests.gsskernels.inputs import INF, NAN, gaussian, seeded

HALF = (torch.float16, torch.bfloat16)


def assert_same(
    x: Tensor, table: Tensor, bias: Tensor | None = None, dim: int = -1, precision: str | None = None
) -> None:
    for function, arguments in ((nearest_code, (table,)), (linear_argmax, (table, bias))):
        wanted = function(x, *arguments, dim=dim, precision=precision, backend="reference")
        got = function(x, *arguments, dim=dim, precision=precision, backend="native")
        assert torch.equal(got, wanted), f"{function.__name__}: {int((got != wanted).sum())} of {wanted.numel()} differ"


# D: none, one, odd, pairs, around vector widths, above the transposed table's 64. V: one, around a group of 12, several
# panels. N: one, around tiles of 8, 16 and 32 rows, several tiles.
@pytest.mark.parametrize("dims", [0, 1, 2, 3, 15, 16, 33, 64, 65, 130, 300])
@pytest.mark.parametrize("codes", [1, 2, 11, 12, 13, 25, 515])
@pytest.mark.parametrize("rows", [1, 7, 33, 70])
def test_awkward_sizes(isa: str, dims: int, codes: int, rows: int) -> None:
    x, table, bias = gaussian(rows, dims), gaussian(codes, dims, seed=1), gaussian(codes, seed=2)
    assert_same(x, table, bias)


@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
@pytest.mark.parametrize("precision", [None, "fp32", "tf32", "bf16"])
def test_dtypes_and_precisions(isa: str, dtype: torch.dtype, precision: str | None) -> None:
    """Half precision codes are often equal, so there are exact ties."""
    x, table = gaussian(100, 6).to(dtype), gaussian(600, 6, seed=1).to(dtype)
    for bias_dtype in (torch.float64, torch.float32, torch.float16):
        assert_same(x, table, gaussian(600, seed=2).to(bias_dtype), precision=precision)


def test_float64_is_the_reference(isa: str) -> None:
    assert_same(gaussian(20, 5).double(), gaussian(30, 5, seed=1).double(), gaussian(30, seed=2).double())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_chunks_panels_and_threads(isa: str, threads: int) -> None:
    """More rows than two chunks of 512; V in blocks of one group and of two groups of codes."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(gaussian(1700, 24), gaussian(1100, 24, seed=1), gaussian(1100, seed=2))
        assert_same(gaussian(40, 70), gaussian(15000, 70, seed=1), gaussian(15000, seed=2))
        assert_same(gaussian(130, 600), gaussian(300, 600, seed=1))
    finally:
        torch.set_num_threads(before)


def test_clustered_rows(isa: str) -> None:
    table = gaussian(900, 48)
    chosen = torch.randint(0, 900, (700,), generator=seeded(1))
    x = table[chosen] + 0.3 * gaussian(700, 48, seed=2)
    assert torch.equal(nearest_code(x, table, backend="native"), chosen)


@pytest.mark.parametrize("dims", [5, 90])
@pytest.mark.parametrize("copies", [2, 40])
def test_copies_of_codes_at_every_position(isa: str, dims: int, copies: int) -> None:
    """With 40 copies there are more candidates than the list of a row holds."""
    base = gaussian(9, dims)
    table = base.repeat(copies, 1)[torch.randperm(9 * copies, generator=seeded(1))]
    x = torch.cat([gaussian(60, dims, seed=2), base, torch.zeros(3, dims)])
    assert_same(x, table)
    index = nearest_code(x, table, backend="native")
    assert torch.equal(index, (table[index][:, None] == table[None]).all(2).to(torch.uint8).argmax(1))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_codes_equal(isa: str, value: float) -> None:
    assert_same(gaussian(40, 20), torch.full((700, 20), value), torch.zeros(700))


def test_rows_of_zeros(isa: str) -> None:
    x = torch.zeros(70, 9)
    x[::3] = gaussian(24, 9)
    assert_same(x, gaussian(500, 9, seed=1))
    assert_same(x, gaussian(500, 9, seed=1), torch.arange(500) % 7 / 7)


@pytest.mark.parametrize("dims", [4, 100])
@pytest.mark.parametrize("offset", [10.0, 1000.0])
def test_far_from_the_origin(isa: str, dims: int, offset: float) -> None:
    assert_same(gaussian(150, dims) + offset, gaussian(400, dims, seed=1) + offset, gaussian(400, seed=2))
    assert_same(gaussian(150, dims), gaussian(400, dims, seed=1) + offset, gaussian(400, seed=2))


@pytest.mark.parametrize("dims", [4, 100])
def test_so_far_that_float64_rounds(isa: str, dims: int) -> None:
    """The reference then takes other codes within its rounding, so direct distances are compared."""
    x, table = gaussian(150, dims) + 1e6, gaussian(400, dims, seed=1) + 1e6
    distance = torch.cdist(x.double(), table.double(), compute_mode="donot_use_mm_for_euclid_dist") ** 2
    taken = distance.gather(1, nearest_code(x, table, backend="native")[:, None])[:, 0]
    rounding = 8 * (dims + 2) * 2.0**-52 * (dims * 1e12)
    assert bool((taken <= distance.amin(1) + rounding).all())


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("scale", [1e-44, 1e-39, 1e-25, 1e-19, 1e15, 1e17, 1e20, 1e30])
def test_magnitudes(isa: str, scale: float, flush: bool) -> None:
    """From subnormal numbers to sums that float32 cannot hold, also where the thread flushes subnormals to zero."""
    if flush and not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush subnormals")
    try:
        for x_scale, table_scale in ((scale, scale), (1.0, scale), (scale, 1.0)):
            assert_same(gaussian(70, 10) * x_scale, gaussian(90, 10, seed=1) * table_scale)
            assert_same(gaussian(40, 80) * x_scale, gaussian(50, 80, seed=1) * table_scale)
    finally:
        torch.set_flush_denormal(False)


def test_one_huge_code_and_one_huge_row(isa: str) -> None:
    """They are scored in float64; the scores of the others must not change."""
    x, table = gaussian(100, 12), gaussian(300, 12, seed=1)
    table[17], table[200], x[40] = 1e25, -1e30, 1e28
    assert_same(x, table, gaussian(300, seed=2))
    bias = gaussian(300, seed=2).double()
    bias[5], bias[6] = 1e200, -1e200
    assert_same(x, table, bias)


@pytest.mark.parametrize("dims", [6, 100])
def test_infinities_and_nan_anywhere(isa: str, dims: int) -> None:
    special = torch.tensor([INF, -INF, NAN])
    for seed in range(6):
        x, table, bias = gaussian(90, dims, seed=seed), gaussian(60, dims, seed=seed + 50), gaussian(60, seed=seed + 90)
        for tensor, count in ((x, 40), (table, 9), (bias, 6)):
            places = torch.randint(0, tensor.numel(), (count,), generator=seeded(seed))
            tensor.view(-1)[places] = special[torch.randint(0, 3, (count,), generator=seeded(seed + 1))]
        assert_same(x, table, bias)
        assert_same(x, torch.where(table.isnan(), 0, table), torch.where(bias == INF, 0, bias))


def test_everything_forbidden_or_nan(isa: str) -> None:
    x, table = gaussian(50, 7), gaussian(40, 7, seed=1)
    assert_same(x, table, torch.full((40,), -INF))
    assert_same(x, torch.cat([torch.full((3, 7), NAN), table]), torch.full((43,), -INF))
    assert_same(x, torch.full((40, 7), NAN), torch.zeros(40))
    bias = torch.full((40,), -INF)
    bias[23] = -3.0
    assert linear_argmax(x, table, bias, backend="native").eq(23).all()


def test_forbidden_tokens_of_a_large_table(isa: str) -> None:
    bias = gaussian(2000, seed=2)
    bias[torch.randint(0, 2000, (900,), generator=seeded(3))] = -INF
    assert_same(gaussian(200, 32), gaussian(2000, 32, seed=1), bias)


@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
def test_layouts(isa: str, dtype: torch.dtype) -> None:
    """Channels-first with whole and partial tiles, channels-last, slices, expanded and transposed views."""
    table = gaussian(77, 20, seed=1).to(dtype)
    for height, width in ((8, 12), (7, 9), (1, 1), (16, 40)):
        x = gaussian(3, 20, height, width).to(dtype)
        assert_same(x, table, dim=1)
        assert_same(x.contiguous(memory_format=torch.channels_last), table, dim=1)
        assert_same(x[:, :, ::2, 1:], table, dim=1)
        assert_same(x[1:, :, :, :1], table, dim=1)
        assert_same(x[:1].expand(4, -1, -1, -1), table, dim=1)
        assert_same(x.transpose(0, 1), table, dim=0)
        assert_same(x.permute(2, 1, 3, 0), table, dim=1)
    wide = gaussian(40, 200, seed=2).to(dtype)
    assert_same(gaussian(50, 20).to(dtype), wide.t()[::2, ::2])
    assert_same(gaussian(50, 40).to(dtype)[:, ::2], wide[:, 1:21], gaussian(120, seed=3)[::3])
    assert_same(gaussian(1, 20).to(dtype).expand(300, 20), table)
    unaligned = torch.cat([torch.zeros(1), gaussian(60 * 20)]).to(dtype)[1:].view(60, 20)
    assert_same(unaligned, torch.cat([torch.zeros(1, dtype=dtype), table.view(-1)])[1:].view(77, 20))


def test_no_rows(isa: str) -> None:
    table = gaussian(5, 3)
    assert nearest_code(torch.empty(0, 3), table, backend="native").shape == (0,)
    assert linear_argmax(torch.empty(2, 3, 0, 4), table, dim=1, backend="native").shape == (2, 0, 4)
    assert nearest_code(table[3], table, backend="native").item() == 3


@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(0, 80),
    codes=st.integers(1, 60),
    dims=st.integers(0, 40),
    levels=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_small_integers(isa: str, rows: int, codes: int, dims: int, levels: int, seed: int) -> None:
    """Scores are exact in every arithmetic, so every tie is exact and the lowest index wins."""
    x = torch.randint(-levels, levels + 1, (rows, dims), generator=seeded(seed)).float()
    table = torch.randint(-levels, levels + 1, (codes, dims), generator=seeded(seed + 1)).float()
    assert_same(x, table)
    if dims:
        wanted = (x[:, None] - table[None]).square().sum(2).argmin(1)
        assert torch.equal(nearest_code(x, table, backend="native"), wanted)
