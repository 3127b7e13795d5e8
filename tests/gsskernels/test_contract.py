"""The contract of all operations and backends: any layout, any size, any number of threads, any magnitude."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import gsskernels as g
from tests.gsskernels.calls import CALLS, Call, bias, ids, image, labels, rows, table
from tests.gsskernels.inputs import (
    FLOATS,
    INF,
    INTEGERS,
    NAN,
    assert_as_copies,
    assert_as_reference,
    assert_best,
    gaussian,
    random_palette,
    require_memory,
    same,
    seeded,
)

each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@each_call
def test_the_number_of_threads_never_shows(call: Call, threads: None, default_backend: str) -> None:
    if default_backend == "reference" and (not call.exact or call is CALLS["decode, rgb"]):
        pytest.skip("sums of PyTorch depend on the number of threads")
    results = []
    for count in (1, 2, 3, 7):
        torch.set_num_threads(count)
        results.append(call())
    assert all(same(results[0], other) for other in results[1:])


@each_call
def test_the_same_call_gives_the_same_bits(call: Call) -> None:
    assert same(call(), call())


def misaligned(t: Tensor) -> Tensor:
    """The same values, one element after an aligned address."""
    return torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape)


def test_misaligned_data() -> None:
    x, palette, codes = misaligned(rows(0)), misaligned(random_palette(19)), misaligned(table())
    assert x.data_ptr() % 16 != 0
    assert_as_copies(g.maskige_decode, misaligned(image(0)), palette, margin=True)
    assert_as_copies(g.maskige_encode, misaligned(labels(0).to(torch.uint8)), palette)
    assert_as_copies(g.nearest_code, x, codes, dim=1)
    assert_as_copies(g.linear_sample, x, codes, dim=1)
    assert_as_copies(g.code_statistics, x, misaligned(ids(0)), 133, dim=1)
    assert_as_copies(g.linear_cross_entropy, x, codes, misaligned(ids(0)), dim=1)


def test_overlapping_views() -> None:
    """Sliding windows: one storage element is many tensor elements."""
    windows = (torch.rand(3, 300, generator=seeded()) * 255).unfold(1, 100, 3)  # (3, 67, 100)
    assert_as_copies(g.maskige_decode, windows, random_palette(19), margin=True)
    x, chosen = gaussian(500).unfold(0, 24, 1), torch.arange(477).remainder(133)
    assert_as_copies(g.nearest_code, x, table())
    assert_as_copies(g.code_statistics, x, chosen, 133)
    assert_as_copies(g.linear_cross_entropy, x, table(), chosen, close=True)
    assert_as_copies(g.nearest_code, x, gaussian(160, seed=1).unfold(0, 24, 1))
    assert_as_copies(g.maskige_decode, image(0), torch.arange(0, 250, 10).unfold(0, 3, 1))


@pytest.mark.parametrize("dim", [0, 1, 2, 3, -1, -3])
def test_channels_last_and_permuted_features(dim: int) -> None:
    plain = rows(0).movedim(1, dim)
    tokens = g.nearest_code(plain, table(), dim=dim)
    assert_as_copies(g.nearest_code, plain, table(), dim=dim)
    for layout in (plain, plain.contiguous(memory_format=torch.channels_last)):
        assert_as_copies(g.code_statistics, layout, tokens, 133, dim=dim)
        assert_as_copies(g.linear_argmax, layout, table(), bias(), dim=dim)
        assert_as_copies(g.linear_cross_entropy, layout, table(), tokens, bias(), dim=dim, close=True)


FAR = 2**31 + 11


def test_offsets_beyond_32_bits() -> None:
    """Planes more than 2^31 elements apart. On a CPU the pages between them are never touched and cost no memory."""
    require_memory(5)
    storage, palette = torch.empty(2 * FAR + 10_000, dtype=torch.uint8), random_palette(19)
    far = storage.as_strided((3, 40, 50), (FAR, 50, 1))
    far.copy_(torch.randint(0, 256, (3, 40, 50), generator=seeded()))
    assert_as_copies(g.maskige_decode, far, palette, margin=True)
    far.remainder_(19)
    assert_as_copies(g.maskige_encode, far[:2], palette)
    assert_as_copies(g.label_resize, far[:2], (30, 90), num_classes=19)
    assert_as_copies(g.confusion_matrix, far[1], far[0], 19)


def test_rows_beyond_32_bits() -> None:
    require_memory(9)
    x = torch.empty(2 * FAR + 100, dtype=torch.bfloat16).as_strided((3, 24), (FAR, 1))
    x.copy_(gaussian(3, 24))
    chosen = torch.tensor([5, 0, 5])
    for function in (g.nearest_code, g.linear_argmax, g.linear_sample):
        assert_as_copies(function, x, table())
    assert_as_copies(g.code_statistics, x, chosen, 6)
    assert_as_copies(g.linear_cross_entropy, x, table(), chosen)


def test_more_than_2_to_the_31_elements(default_backend: str) -> None:
    if default_backend == "reference":
        pytest.skip("its temporaries would take 40 GB")
    require_memory(40)
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
    """Differences of 1e-40 decide. If they were flushed to zero, all codes would tie."""
    tiny = torch.tensor([[0.0], [1e-40], [3e-40], [-1e-40]])
    assert g.nearest_code(torch.tensor([[2.5e-40], [0.0], [-3e-40]]), tiny * 1.0).tolist() in ([2, 0, 3], [0, 0, 0])
    weight = torch.tensor([[1e-30], [2e-30], [0.0]])
    assert g.linear_argmax(torch.tensor([[1e-8], [-1e-8]]), weight).tolist() == [1, 2]
    assert g.linear_argmax(torch.zeros(2, 1), weight).tolist() == [0, 0]


def test_huge_values() -> None:
    """Products beyond the range of float32 are compared as finite numbers."""
    x = torch.tensor([[1e30, 1.0], [-1e30, 1.0]])
    weight = torch.tensor([[1e20, 0.0], [2e20, 0.0], [-3e20, 0.0]])
    assert g.linear_argmax(x, weight).tolist() == [1, 2]
    codes = torch.tensor([[3e25, 0.0], [1e30, 0.0], [-1e30, 0.0]])
    assert g.nearest_code(x, codes).tolist() == [1, 2]


@pytest.mark.parametrize("name", ["nearest_code", "linear_argmax"])
def test_infinities_are_scored_by_the_same_expression(name: str, default_backend: str) -> None:
    x = torch.randn(200, 7, generator=seeded())
    table = torch.randn(50, 7, generator=seeded(1))
    values = torch.tensor([INF, -INF, NAN, 3e38, -3e38, 1e-45])
    for seed in range(20):
        where = torch.randint(0, 200 * 7, (40,), generator=seeded(seed))
        x.view(-1)[where] = values[torch.randint(0, 6, (40,), generator=seeded(seed + 100))]
        if seed >= 10:
            where = torch.randint(0, 50 * 7, (9,), generator=seeded(seed))
            table.view(-1)[where] = values[torch.randint(0, 6, (9,), generator=seeded(seed + 200))]
        assert torch.equal(getattr(g, name)(x, table), getattr(g, name)(x, table, backend="reference"))


@settings(derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 130),
    codes=st.integers(1, 90),
    dims=st.integers(1, 300),
    dtype=st.sampled_from(FLOATS),
    seed=st.integers(0, 2**20),
)
def test_any_shape_and_dtype_of_the_codebook_operations(
    default_backend: str, count: int, codes: int, dims: int, dtype: torch.dtype, seed: int
) -> None:
    x, weight, offset = gaussian(count, dims, seed=seed), gaussian(codes, dims, seed=1), gaussian(codes, seed=2)
    x, weight, offset = x.to(dtype), weight.to(dtype), offset.to(dtype)
    tokens = g.nearest_code(x, weight)
    in_float32 = default_backend == "triton" and dtype in (torch.float16, torch.bfloat16)  # scores, by the contract
    if in_float32:
        assert_best(tokens, x, weight)
        assert_best(g.linear_argmax(x, weight, offset), x, weight, offset)
    else:
        assert_as_reference(g.nearest_code, x, weight)
        assert_as_reference(g.linear_argmax, x, weight, offset)
    assert_as_reference(g.code_statistics, x, tokens, codes, close=True)
    if not in_float32:  # test_linear_cross_entropy.py compares half precision logits with PyTorch's
        options = {"reduction": "sum", "close": True, "rtol": 1e-5, "atol": 1e-4}
        assert_as_reference(g.linear_cross_entropy, x, weight, tokens, offset, **options)


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
    given_labels = torch.randint(0, classes + 2, shape, generator=seeded(seed)).to(label_dtype)
    assert_as_reference(g.maskige_encode, given_labels, palette, ignore_color=(1, 2, 3))
    painted = g.maskige_encode(given_labels, palette, ignore_color=(1, 2, 3))
    noisy = (painted + gaussian(*painted.shape, seed=1) * 30).clamp(0, 255).to(dtype)
    for to in (None, size):
        assert_as_reference(g.maskige_decode, noisy, palette, size=to)
        assert_as_reference(g.maskige_decode, noisy, palette, size=to, margin=True, close=True, rtol=1e-5, atol=1e-4)
    resize = {"num_classes": classes, "ignore_index": 127}  # a label that int8 holds as well
    assert_as_reference(g.label_resize, given_labels, size, **resize)
    assert_as_reference(g.maskige_evaluate, noisy, palette, g.label_resize(given_labels, size, **resize))
