"""Plans cover every size, and their configurations fit GPUs with little shared memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gsskernels.triton import plan
from gsskernels.triton.plan import SM_80, SM_86, SM_90, SM_100, Architecture, Config

TURING = Architecture(75, 65536, 40)  # older than any table
SMALLEST = Architecture(80, 48 * 1024, 20)  # what any CUDA GPU gives without asking for more
LARGEST = Architecture(90, 227 * 1024, 132)
NEWER = Architecture(121, 101376, 48)  # newer than any table, with little shared memory
DEVICES = [SM_80, SM_86, SM_90, SM_100, TURING, SMALLEST, LARGEST, NEWER]
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
# One of everything, odd sizes, a colour, sizes beside the steps of the tables, the promised shapes, a long head.
SHAPES = [(1, 1, 1), (5, 3, 3), (257, 515, 63), (1000, 19, 65), (9216, 8192, 256), (73728, 8192, 257),
          (73728, 8192, 2048), (100, 150_000, 5000)]  # fmt: skip


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for the tables of the test."""
    monkeypatch.setattr(plan, "TABLES", tmp_path)
    plan._table.cache_clear()
    yield tmp_path
    plan._table.cache_clear()


def write(folder: Path, capability: int, *rows: tuple[dict[str, Any], dict[str, Any]]) -> None:
    table = {"kernel": [{"when": when, "use": use} for when, use in rows]}
    (folder / f"sm{capability}.json").write_text(json.dumps(table))


def chosen(capability: int, **sizes: Any) -> Any:
    return plan.lookup("kernel", Architecture(capability, 100_000, 100), **sizes)["n"]


def test_the_first_row_that_holds_decides(tables: Path) -> None:
    write(tables, 80, ({"item": 4, "rows_upto": 100}, {"n": 1}), ({"rows_upto": 100}, {"n": 2}), ({}, {"n": 3}))
    assert chosen(80, item=4, rows=100) == 1
    assert chosen(80, item=2, rows=100) == 2
    assert chosen(80, item=4, rows=101) == 3


def test_a_size_no_row_covers_is_named(tables: Path) -> None:
    write(tables, 80, ({"rows_upto": 100}, {"n": 1}))
    with pytest.raises(LookupError, match=r"no row of kernel for \{'rows': 101\}"):
        chosen(80, rows=101)


@pytest.mark.parametrize(
    ("capability", "table"), [(75, 80), (80, 80), (86, 80), (90, 90), (99, 90), (100, 100), (121, 100)]
)
def test_an_architecture_gets_the_nearest_older_table(tables: Path, capability: int, table: int) -> None:
    for made_for in (80, 90, 100):
        write(tables, made_for, ({}, {"n": made_for}))
    assert chosen(capability) == table


def bytes_of(config: Config) -> int:
    """A kernel that keeps both operands in every stage, in half precision."""
    return 2 * config.num_stages * config.block_features * (config.block_rows + config.block_codes)


def test_a_configuration_that_fits_is_kept() -> None:
    config = Config(block_rows=128, block_codes=128, block_features=64, num_stages=3)
    assert plan.fit(config, bytes_of, SM_90) == config


def test_stages_go_first_then_features_codes_rows() -> None:
    config = Config(block_rows=128, block_codes=128, block_features=64, num_warps=8, num_stages=4)  # 128 KiB
    fewer = [plan.fit(config, bytes_of, Architecture(80, kib * 1024, 1)) for kib in (96, 64, 32, 24, 20, 16)]
    sizes = [(c.num_stages, c.block_features, c.block_codes, c.block_rows) for c in fewer]
    assert sizes == [(3, 64, 128, 128), (2, 64, 128, 128), (2, 32, 128, 128), (2, 32, 64, 128), (2, 32, 32, 128),
                     (2, 32, 32, 64)]  # fmt: skip
    assert all(c.num_warps == 8 for c in fewer)


def test_what_can_never_fit_says_how_much_it_needs() -> None:
    with pytest.raises(plan.DoesNotFit, match="needs 1000000 bytes of shared memory a block, this GPU has 49152"):
        plan.fit(Config(), lambda config: 1_000_000, SMALLEST)


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: f"sm{d.capability} {d.shared_memory // 1024} KiB")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_plan_fits_its_device(device: Architecture, shape: tuple[int, int, int]) -> None:
    rows, codes, features = shape
    plans = []
    for dtype in DTYPES:
        item = dtype.itemsize
        for planned in (plan.plan_argmax, plan.plan_sample, plan.plan_cross_entropy):
            plans.append((*planned(rows, codes, features, dtype, device), item, 1))
    for parts in (1, 2):
        for listed in (False, True):
            plans.append((*plan.plan_certified(rows, codes, features, parts, listed, device), 2, parts))
    for config, splits, item, parts in plans:
        assert plan._operand_bytes(config, features, item, item, parts) <= device.shared_memory
        for size in (config.block_rows, config.block_codes, config.block_features):
            assert size >= 16 and size & (size - 1) == 0
        assert config.num_stages >= 1 and config.num_warps in (1, 2, 4, 8, 16)
        assert 1 <= splits <= -(-codes // config.block_codes)


def test_tiles_are_not_larger_than_the_problem() -> None:
    config, splits = plan.plan_argmax(20, 40, 5, torch.bfloat16, SM_90)
    assert (config.block_rows, config.block_codes, config.block_features, splits) == (
        32,
        min(64, config.block_codes),
        16,
        1,
    )


@pytest.mark.parametrize("device", [SM_80, SM_90, SM_100], ids=lambda d: f"sm{d.capability}")
def test_splits_fill_the_device(device: Architecture) -> None:
    """With few rows the codes are split: the tokens of one image leave at most a quarter of the last wave idle."""
    for row_tiles in (1, 7, 72, 144, 576):
        splits = plan.splits_for(row_tiles, 8192, 128, device)
        blocks, size = row_tiles * splits, device.multiprocessors
        whole = -(-blocks // size) * size
        even = 64 / (splits * -(-64 // splits))
        unsplit = row_tiles / (-(-row_tiles // size) * size)
        assert even * blocks / whole >= unsplit
        if row_tiles >= 7:
            assert even * blocks / whole >= 0.75


def test_chunks_of_logits_are_even_and_bounded() -> None:
    for rows, codes, item in ((73728, 8192, 2), (73728, 8192, 4), (1000, 150_000, 2), (1, 8192, 2), (10, 10**9, 4)):
        chunk = plan.chunk_rows(rows, codes, item)
        assert 1 <= chunk <= max(1, rows)
        assert chunk == 1 or chunk * codes * item <= plan.CHUNK_BYTES
    assert plan.chunk_rows(0, 8192, 2) == 1


@pytest.mark.parametrize("path", sorted((Path(plan.__file__).parent / "tables").glob("sm*.json")), ids=lambda p: p.stem)
def test_checked_in_tables_say_where_they_come_from(path: Path) -> None:
    table = json.loads(path.read_text())
    assert table.pop("made")
    for kernel, rows in table.items():
        assert rows[-1]["when"] == {} or kernel == "cross_entropy", f"{kernel} has no row for the rest"
        for row in rows:
            assert set(row) == {"when", "use"}
