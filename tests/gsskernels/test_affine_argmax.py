"""nearest_code and linear_argmax, which are the same operation."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import gsskernels.reference.codebook as reference
from gsskernels import linear_argmax, nearest_code
from tests.gsskernels.inputs import INF, NAN, assert_best, seeded


# D of 1, odd, below and above vector widths, colours (3) and a whole SIMD multiple; V of 1, odd, and more than a chunk.
@pytest.mark.parametrize("dims", [1, 2, 3, 7, 16, 65, 128, 300])
@pytest.mark.parametrize("codes", [1, 2, 19, 515])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_against_float64(dims: int, codes: int, dtype: torch.dtype, default_backend: str) -> None:
    x = torch.randn(67, dims, generator=seeded(dims)).to(dtype)
    table = torch.randn(codes, dims, generator=seeded(codes)).to(dtype)
    bias = torch.randn(codes, generator=seeded()).to(dtype)
    nearest = nearest_code(x, table)
    likely = linear_argmax(x, table, bias)
    assert_best(nearest, x, table)
    assert_best(likely, x, table, bias)
    if default_backend == "triton" and dtype is not torch.float32:
        return  # it sums half precision products in float32
    distance = torch.cdist(x.double(), table.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert bool((distance.gather(1, nearest[:, None])[:, 0] <= distance.amin(1) * (1 + 1e-12)).all())
    assert torch.equal(likely, (x.double() @ table.double().T + bias.double()).argmax(1))


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_codebooks_far_from_the_origin(offset: float) -> None:
    """The expanded distance cancels far from the origin; float64 scores still find the nearest code."""
    table = torch.randn(50, 8, generator=seeded()) + offset
    chosen = torch.randint(0, 50, (200,), generator=seeded(1))
    x = table[chosen] + 0.01 * torch.randn(200, 8, generator=seeded(2))
    assert torch.equal(nearest_code(x, table), chosen)


def test_equal_codes_give_the_lowest_index_at_every_position() -> None:
    """A matrix product may round equal columns differently; a later copy of a code must not win because of that."""
    base = torch.randn(37, 129, generator=seeded())
    table = torch.cat([base, base, base])[torch.randperm(111, generator=seeded(1))]
    x = torch.randn(301, 129, generator=seeded(2))
    index = nearest_code(x, table)
    first = (table[index][:, None] == table[None]).all(2).to(torch.uint8).argmax(1)
    assert torch.equal(index, first)
    assert torch.equal(linear_argmax(x, table), linear_argmax(x, table[:, :].clone(), torch.zeros(111)))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(dims=st.integers(1, 9), codes=st.integers(1, 40), rows=st.integers(0, 20), seed=st.integers(0, 2**31))
def test_integer_ties_are_exact(dims: int, codes: int, rows: int, seed: int) -> None:
    table = torch.randint(-2, 3, (codes, dims), generator=seeded(seed))
    x = torch.randint(-2, 3, (rows, dims), generator=seeded(seed + 1))
    wanted = (x[:, None] - table[None]).square().sum(2).argmin(1)
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        assert torch.equal(nearest_code(x.to(dtype), table.to(dtype)), wanted)
    assert torch.equal(linear_argmax(x.float(), table.float()), (x @ table.T).argmax(1))


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
def test_the_feature_dimension_can_be_anywhere(dim: int) -> None:
    x = torch.randn(4, 5, 6, generator=seeded())
    table = torch.randn(11, x.shape[dim], generator=seeded(1))
    moved = x.movedim(dim, -1)
    rows = nearest_code(moved.reshape(-1, moved.shape[-1]), table)
    assert torch.equal(nearest_code(x, table, dim=dim), rows.view(moved.shape[:-1]))
    assert torch.equal(linear_argmax(x, table, dim=dim), F.linear(moved.double(), table.double()).argmax(-1))


def test_channels_first_maps() -> None:
    x = torch.randn(2, 8, 5, 7, generator=seeded())
    table = torch.randn(13, 8, generator=seeded(1))
    wanted = nearest_code(x.permute(0, 2, 3, 1), table)
    assert wanted.shape == (2, 5, 7)
    assert torch.equal(nearest_code(x, table, dim=1), wanted)
    assert torch.equal(nearest_code(x.contiguous(memory_format=torch.channels_last), table, dim=1), wanted)


def test_one_row_and_no_rows() -> None:
    table = torch.randn(5, 3, generator=seeded())
    assert nearest_code(table[3], table).item() == 3
    assert nearest_code(torch.empty(0, 3), table).shape == (0,)
    assert nearest_code(torch.empty(2, 0, 3), table).shape == (2, 0)
    assert linear_argmax(torch.empty(2, 3, 0, 4), table, dim=1).shape == (2, 0, 4)
    assert linear_argmax(torch.ones(2, 0), torch.ones(3, 0), torch.tensor([0.0, 2.0, 1.0])).tolist() == [1, 1]


def test_strides_do_not_matter() -> None:
    x, table = torch.randn(12, 10, generator=seeded()), torch.randn(10, 9, generator=seeded(1))
    for view in (x[::2, 1:], x.t()[:9].t(), x[:1, :9].expand(5, 9)):
        assert torch.equal(nearest_code(view, table), nearest_code(view.contiguous(), table))
    wide = torch.randn(9, 20, generator=seeded(2)).t()[::2]
    assert torch.equal(nearest_code(x[:, 1:], wide), nearest_code(x[:, 1:], wide.contiguous()))


def test_nan_never_wins_unless_alone() -> None:
    x = torch.tensor([[1.0, 0.0], [NAN, 0.0], [INF, 0.0], [-INF, 1.0], [0.0, INF]])
    weight = torch.tensor([[NAN, 0.0], [1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
    # The third row scores +inf with the weights 1 and 2; in the last row inf * 0 makes all scores NaN.
    assert linear_argmax(x, weight).tolist() == [2, 0, 1, 3, 0]
    assert nearest_code(x, weight).tolist() == [1, 0, 1, 3, 0]


def test_minus_infinity_in_the_bias_forbids() -> None:
    x, weight = torch.randn(50, 4, generator=seeded()), torch.randn(6, 4, generator=seeded(1))
    bias = torch.tensor([0.0, -INF, 0.0, -INF, 0.0, 0.0])
    assert torch.equal(linear_argmax(x, weight, bias), (x.double() @ weight.double().T + bias).argmax(1))
    assert linear_argmax(x, weight, torch.full((6,), -INF)).tolist() == [0] * 50
    weight[0] = NAN
    assert linear_argmax(x, weight, torch.full((6,), -INF)).tolist() == [1] * 50


def test_precision_rounds_the_operands() -> None:
    """1 + 2^-9 and 1 + 2^-12 survive float32, the first survives tf32 (10 bits), neither survives bfloat16 (7 bits)."""
    weight = torch.tensor([[1.0], [1 + 2**-12], [1 + 2**-9]])
    x = torch.ones(1, 1)
    assert {p: linear_argmax(x, weight, precision=p).item() for p in (None, "fp32", "tf32", "bf16")} == {
        None: 2,
        "fp32": 2,
        "tf32": 2,
        "bf16": 0,
    }
    assert linear_argmax(x, weight[:2], precision="tf32").item() == 0
    assert linear_argmax(x, weight[:2], precision="fp32").item() == 1
    ties_to_even = torch.tensor([[1 + 2**-10], [1 + 2**-10 + 2**-11], [1 + 2**-9]])
    assert linear_argmax(x, ties_to_even, precision="tf32").item() == 1
    assert linear_argmax(torch.tensor([[INF]]), torch.tensor([[-1.0], [1.0]]), precision="tf32").item() == 1
    assert linear_argmax(torch.tensor([[NAN]]), torch.tensor([[-1.0], [1.0]]), precision="tf32").item() == 0


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_low_precision_is_the_nearest_rounded_code(precision: str, default_backend: str) -> None:
    x, table = torch.randn(200, 32, generator=seeded()), torch.randn(64, 32, generator=seeded(1))
    bits = 13 if precision == "tf32" else 16
    rounded = []
    for t in (x, table):
        scale = 2.0 ** (torch.frexp(t).exponent.double() - 24 + bits)
        rounded.append((t.double() / scale).round() * scale)
    distance = torch.cdist(rounded[0], rounded[1], compute_mode="donot_use_mm_for_euclid_dist")
    nearest = nearest_code(x, table, precision=precision)
    assert_best(nearest, *rounded)
    if default_backend != "triton":
        assert torch.equal(nearest, distance.argmin(1))


def test_mixed_dtypes_are_promoted() -> None:
    x, table = torch.randn(40, 8, generator=seeded()).bfloat16(), torch.randn(30, 8, generator=seeded(1))
    assert torch.equal(nearest_code(x, table), nearest_code(x.float(), table))


def test_autocast_is_followed_by_the_linear_layer_only() -> None:
    x, table = torch.randn(400, 8, generator=seeded()), torch.randn(300, 8, generator=seeded(1))
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        likely, nearest = linear_argmax(x, table), nearest_code(x, table)
        certified = linear_argmax(x, table, precision="fp32")
    assert torch.equal(likely, linear_argmax(x, table, precision="bf16"))
    assert torch.equal(nearest, nearest_code(x, table))
    assert torch.equal(certified, linear_argmax(x, table)) and not torch.equal(certified, likely)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x, table = torch.randn(50, 8, generator=seeded()), torch.randn(30, 8, generator=seeded(1))
    whole = nearest_code(x, table)
    monkeypatch.setattr(reference, "CHUNK_SCORES", 100)
    assert torch.equal(nearest_code(x, table), whole)


def test_no_gradient() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    assert not nearest_code(x, torch.randn(5, 3, requires_grad=True)).requires_grad
