"""What every operation promises whatever its kernel: any layout, any size, any number of threads, any magnitude."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import gsskernels as g

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(a: object, b: object) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    return a.dtype == b.dtype and torch.equal(a, b)


PALETTE = torch.randint(0, 256, (19, 3), generator=seeded(9))
IMAGE = torch.rand(2, 3, 181, 203, generator=seeded(1)) * 255
LABELS = torch.randint(-2, 21, (2, 181, 203), generator=seeded(2))
X = torch.randn(4, 24, 37, 41, generator=seeded(3))
TABLE, BIAS = torch.randn(133, 24, generator=seeded(4)), torch.randn(133, generator=seeded(5))
IDS = torch.randint(0, 133, (4, 37, 41), generator=seeded(6))

CALLS: dict[str, Callable[[], object]] = {
    "encode": lambda: g.maskige_encode(LABELS, PALETTE, scale=1 / 255),
    "encode bfloat16": lambda: g.maskige_encode(LABELS, PALETTE, dtype=torch.bfloat16),
    "decode": lambda: g.maskige_decode(IMAGE, PALETTE, margin=True),
    "decode, vote": lambda: g.maskige_decode(IMAGE, PALETTE, size=(400, 123), margin=True),
    "decode, rgb": lambda: g.maskige_decode(IMAGE, PALETTE, size=(120, 377), resize="rgb", margin=True),
    "evaluate": lambda: g.maskige_evaluate(IMAGE, PALETTE, LABELS),
    "label_resize": lambda: g.label_resize(LABELS, (97, 411), num_classes=19),
    "confusion_matrix": lambda: g.confusion_matrix(LABELS, LABELS.flip(1), 19),
    "nearest_code": lambda: g.nearest_code(X, TABLE, dim=1),
    "linear_argmax": lambda: g.linear_argmax(X, TABLE, BIAS, dim=1),
    "linear_sample": lambda: g.linear_sample(X, TABLE, BIAS, dim=1),
    "code_statistics": lambda: g.code_statistics(X, IDS, 133, dim=1),
    "linear_cross_entropy": lambda: g.linear_cross_entropy(X, TABLE, IDS, BIAS, dim=1),
    "gradients of linear_cross_entropy": lambda: gradients("mean"),
    "gradients of its rows": lambda: gradients("none"),
}


def gradients(reduction: str) -> tuple[Tensor, ...]:
    leaves = [t.clone().requires_grad_() for t in (X, TABLE, BIAS)]
    loss = g.linear_cross_entropy(leaves[0], leaves[1], IDS, leaves[2], dim=1, reduction=reduction)
    return torch.autograd.grad((loss * torch.arange(loss.numel()).view(loss.shape)).sum(), leaves)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


NATIVE_ONLY = "PyTorch's own sums depend on the number of threads"


@pytest.mark.parametrize("name", CALLS)
def test_the_number_of_threads_never_shows(name: str, threads: None, default_backend: str) -> None:
    if default_backend == "reference" and ("linear_cross" in name or "rows" in name or "rgb" in name):
        pytest.skip(NATIVE_ONLY)
    results = []
    for count in (1, 2, 3, 7):
        torch.set_num_threads(count)
        results.append(CALLS[name]())
    assert all(same(results[0], other) for other in results[1:])


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_gives_the_same_bits(name: str) -> None:
    assert same(CALLS[name](), CALLS[name]())


def misaligned(t: Tensor) -> Tensor:
    """The same values one element away from where the allocator aligns."""
    return torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape)


def test_misaligned_data() -> None:
    image, labels, x = misaligned(IMAGE), misaligned(LABELS.to(torch.uint8)), misaligned(X)
    assert image.data_ptr() % 16 != 0
    palette, table = misaligned(PALETTE.float()), misaligned(TABLE)
    assert same(g.maskige_decode(image, palette, margin=True), g.maskige_decode(IMAGE, PALETTE, margin=True))
    assert same(g.maskige_encode(labels, palette), g.maskige_encode(LABELS.to(torch.uint8), PALETTE))
    assert same(g.nearest_code(x, table, dim=1), g.nearest_code(X, TABLE, dim=1))
    assert same(g.linear_sample(x, table, dim=1), g.linear_sample(X, TABLE, dim=1))
    assert same(g.code_statistics(x, IDS, 133, dim=1), g.code_statistics(X, IDS, 133, dim=1))
    assert same(g.linear_cross_entropy(x, table, misaligned(IDS), dim=1), g.linear_cross_entropy(X, TABLE, IDS, dim=1))


def test_overlapping_views() -> None:
    """Sliding windows: one storage element is many tensor elements."""
    line = torch.rand(3, 300, generator=seeded()) * 255
    windows = line.unfold(1, 100, 3)  # (3, 67, 100)
    assert same(
        g.maskige_decode(windows, PALETTE, margin=True), g.maskige_decode(windows.contiguous(), PALETTE, margin=True)
    )
    rows = torch.randn(500, generator=seeded()).unfold(0, 24, 1)
    assert same(g.nearest_code(rows, TABLE), g.nearest_code(rows.contiguous(), TABLE))
    ids = torch.arange(477).remainder(133)
    assert same(g.code_statistics(rows, ids, 133), g.code_statistics(rows.contiguous(), ids, 133))
    got, wanted = g.linear_cross_entropy(rows, TABLE, ids), g.linear_cross_entropy(rows.contiguous(), TABLE, ids)
    torch.testing.assert_close(got, wanted)
    tables = torch.randn(160, generator=seeded(1)).unfold(0, 24, 1)
    assert same(g.nearest_code(rows, tables), g.nearest_code(rows, tables.contiguous()))
    palette = torch.arange(0, 250, 10).unfold(0, 3, 1)
    assert same(g.maskige_decode(IMAGE, palette), g.maskige_decode(IMAGE, palette.contiguous()))


@pytest.mark.parametrize("dim", [0, 1, 2, 3, -1, -3])
def test_channels_last_and_permuted_features(dim: int) -> None:
    plain = X.movedim(1, dim)  # a view: the features sit in another place, the strides tell
    assert same(g.nearest_code(plain, TABLE, dim=dim), g.nearest_code(plain.contiguous(), TABLE, dim=dim))
    tokens = g.nearest_code(plain, TABLE, dim=dim)
    for layout in (plain, plain.contiguous(), plain.contiguous(memory_format=torch.channels_last)):
        assert same(g.code_statistics(layout, tokens, 133, dim=dim), g.code_statistics(plain, tokens, 133, dim=dim))
        assert same(g.linear_argmax(layout, TABLE, BIAS, dim=dim), g.linear_argmax(plain, TABLE, BIAS, dim=dim))
        torch.testing.assert_close(
            g.linear_cross_entropy(layout, TABLE, tokens, BIAS, dim=dim),
            g.linear_cross_entropy(plain, TABLE, tokens, BIAS, dim=dim),
        )


FAR = 2**31 + 11


def test_offsets_beyond_32_bits() -> None:
    """Planes more than 2^31 elements apart. The pages between them are never touched, so they cost no memory."""
    storage = torch.empty(2 * FAR + 10_000, dtype=torch.uint8)
    image = storage.as_strided((3, 40, 50), (FAR, 50, 1))
    near = torch.randint(0, 256, (3, 40, 50), generator=seeded(), dtype=torch.uint8)
    image.copy_(near)
    assert same(g.maskige_decode(image, PALETTE, margin=True), g.maskige_decode(near, PALETTE, margin=True))
    labels = storage.as_strided((2, 40, 50), (FAR, 50, 1))
    labels.copy_(near[:2] % 19)
    assert same(g.maskige_encode(labels, PALETTE), g.maskige_encode(labels.contiguous(), PALETTE))
    assert same(
        g.label_resize(labels, (30, 90), num_classes=19), g.label_resize(labels.contiguous(), (30, 90), num_classes=19)
    )
    assert same(
        g.confusion_matrix(labels[1], labels[0], 19),
        g.confusion_matrix(labels[1].contiguous(), labels[0].contiguous(), 19),
    )


def test_rows_beyond_32_bits() -> None:
    storage = torch.empty(2 * FAR + 100, dtype=torch.bfloat16)
    x = storage.as_strided((3, 24), (FAR, 1))
    x.copy_(X.flatten()[:72].view(3, 24))
    near, ids = x.contiguous(), torch.tensor([5, 0, 5])
    assert same(g.nearest_code(x, TABLE), g.nearest_code(near, TABLE))
    assert same(g.linear_sample(x, TABLE), g.linear_sample(near, TABLE))
    assert same(g.code_statistics(x, ids, 6), g.code_statistics(near, ids, 6))
    assert same(g.linear_cross_entropy(x, TABLE, ids), g.linear_cross_entropy(near, TABLE, ids))


def test_more_than_2_to_the_31_elements(default_backend: str) -> None:
    if default_backend == "reference":
        pytest.skip("its temporaries would take 40 GB")
    target, prediction = torch.tensor([[1], [2]]).expand(2, 2**30 + 7), torch.tensor([[0], [2]]).expand(2, 2**30 + 7)
    counts = g.confusion_matrix(prediction, target, 3)
    assert counts.tolist() == [[0, 0, 0], [2**30 + 7, 0, 0], [0, 0, 2**30 + 7]]


@pytest.mark.parametrize("num_classes", [256, 1000, 70_000])
def test_many_classes(num_classes: int) -> None:
    palette = torch.rand(num_classes, 3, generator=seeded(num_classes)) * 255
    labels = torch.randint(0, num_classes, (6, 7), generator=seeded(), dtype=torch.int32)
    painted = g.maskige_encode(labels, palette, ignore_index=-1)
    assert torch.equal(g.maskige_decode(painted, palette), labels)
    assert torch.equal(g.label_resize(labels, (6, 7), num_classes=num_classes, ignore_index=-1), labels)
    if num_classes <= 1000:
        counts = g.confusion_matrix(labels, labels, num_classes, ignore_index=-1)
        assert torch.equal(counts.diagonal(), torch.bincount(labels.flatten().long(), minlength=num_classes))


def test_subnormal_and_tiny_values() -> None:
    """Differences of 1e-40 still decide; flushing them to zero would make every code a tie."""
    tiny = torch.tensor([[0.0], [1e-40], [3e-40], [-1e-40]])
    assert g.nearest_code(torch.tensor([[2.5e-40], [0.0], [-3e-40]]), tiny * 1.0).tolist() in ([2, 0, 3], [0, 0, 0])
    weight = torch.tensor([[1e-30], [2e-30], [0.0]])
    assert g.linear_argmax(torch.tensor([[1e-8], [-1e-8]]), weight).tolist() == [1, 2]
    assert g.linear_argmax(torch.zeros(2, 1), weight).tolist() == [0, 0]


def test_huge_values() -> None:
    """Products beyond float32 are still finite numbers to compare."""
    x = torch.tensor([[1e30, 1.0], [-1e30, 1.0]])
    weight = torch.tensor([[1e20, 0.0], [2e20, 0.0], [-3e20, 0.0]])
    assert g.linear_argmax(x, weight).tolist() == [1, 2]
    codes = torch.tensor([[3e25, 0.0], [1e30, 0.0], [-1e30, 0.0]])
    assert g.nearest_code(x, codes).tolist() == [1, 2]


@pytest.mark.parametrize("name", ["nearest_code", "linear_argmax"])
def test_infinities_are_scored_by_the_same_expression(name: str, default_backend: str) -> None:
    x = torch.randn(200, 7, generator=seeded())
    table = torch.randn(50, 7, generator=seeded(1))
    values = torch.tensor([math.inf, -math.inf, math.nan, 3e38, -3e38, 1e-45])
    for seed in range(20):
        where = torch.randint(0, 200 * 7, (40,), generator=seeded(seed))
        x.view(-1)[where] = values[torch.randint(0, 6, (40,), generator=seeded(seed + 100))]
        if seed >= 10:
            where = torch.randint(0, 50 * 7, (9,), generator=seeded(seed))
            table.view(-1)[where] = values[torch.randint(0, 6, (9,), generator=seeded(seed + 200))]
        assert torch.equal(getattr(g, name)(x, table), getattr(g, name)(x, table, backend="reference"))


dtypes = st.sampled_from(FLOATS)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    rows=st.integers(0, 130),
    codes=st.integers(1, 90),
    dims=st.integers(1, 300),
    dtype=dtypes,
    seed=st.integers(0, 2**20),
)
def test_any_shape_and_dtype_of_the_codebook_operations(
    rows: int, codes: int, dims: int, dtype: torch.dtype, seed: int
) -> None:
    x, table = (
        torch.randn(rows, dims, generator=seeded(seed)).to(dtype),
        torch.randn(codes, dims, generator=seeded(1)).to(dtype),
    )
    bias = torch.randn(codes, generator=seeded(2)).to(dtype)
    tokens = g.nearest_code(x, table)
    assert torch.equal(tokens, g.nearest_code(x, table, backend="reference"))
    assert torch.equal(g.linear_argmax(x, table, bias), g.linear_argmax(x, table, bias, backend="reference"))
    for got, wanted in zip(
        g.code_statistics(x, tokens, codes), g.code_statistics(x, tokens, codes, backend="reference"), strict=True
    ):
        torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(
        g.linear_cross_entropy(x, table, tokens, bias, reduction="sum"),
        g.linear_cross_entropy(x, table, tokens, bias, reduction="sum", backend="reference"),
        rtol=1e-5,
        atol=1e-4,
    )


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 70), st.integers(1, 70)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    classes=st.integers(1, 40),
    dtype=st.sampled_from((torch.uint8, *FLOATS)),
    label_dtype=st.sampled_from(INTEGERS),
    seed=st.integers(0, 2**20),
)
def test_any_shape_and_dtype_of_the_maskige_operations(
    shape: tuple[int, int, int],
    size: tuple[int, int],
    classes: int,
    dtype: torch.dtype,
    label_dtype: torch.dtype,
    seed: int,
) -> None:
    palette = torch.randint(0, 256, (classes, 3), generator=seeded(seed))
    labels = torch.randint(0, classes + 2, shape, generator=seeded(seed)).to(label_dtype)
    painted = g.maskige_encode(labels, palette, ignore_color=(1, 2, 3))
    assert torch.equal(painted, g.maskige_encode(labels, palette, ignore_color=(1, 2, 3), backend="reference"))
    noisy = (painted + torch.randn(painted.shape, generator=seeded(1)) * 30).clamp(0, 255).to(dtype)
    for arguments in ({}, {"size": size}):
        got = g.maskige_decode(noisy, palette, margin=True, **arguments)  # type: ignore[call-overload]
        wanted = g.maskige_decode(noisy, palette, margin=True, backend="reference", **arguments)  # type: ignore[call-overload]
        assert torch.equal(got[0], wanted[0])
        torch.testing.assert_close(got[1], wanted[1], rtol=1e-5, atol=1e-4)
    resize = {"num_classes": classes, "ignore_index": 127}  # a label that int8 holds as well
    target = g.label_resize(labels, size, **resize)
    assert torch.equal(target, g.label_resize(labels, size, **resize, backend="reference"))
    assert torch.equal(
        g.maskige_evaluate(noisy, palette, target), g.maskige_evaluate(noisy, palette, target, backend="reference")
    )
