"""code_statistics: the number of rows of each code and their sum. Sorts the codes, then sums segments without races.

    order    = stable argsort of the codes; a code's rows are then a segment [start_v, end_v) of `order`
    pass 1   : chunks of ROWS sorted rows; a segmented scan sums every segment within its chunk. Segments that lie in
               one chunk are finished; others leave a part at the head or the tail of each of their chunks
    pass 2   : for every code, adds the parts of a segment that crosses chunks, in order

Contract: deterministic, because the order of every sum depends on the codes alone. Sums are float64, which costs no
time in a kernel that waits for memory, and are rounded once; the reference computes float64 input. Rows with codes
outside 0..V-1 are sorted behind all others and left out. Atomic additions would be faster where codes repeat little,
but would give different bits in every run.

Right on an H200 where checked (docs/performance.md), not timed there yet. The bytes of 73728 x 256 float32 take 0.02 ms
at 4.3 TB/s; the sort costs more than they do.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.reference import codebook as reference
from gsskernels.triton.launch import launch
from gsskernels.triton.rows import power_of_two, row_offsets, rows_of

ROWS = 32


def code_statistics(x: Tensor, codes: Tensor, num_codes: int, dim: int) -> tuple[Tensor, Tensor]:
    if x.dtype is torch.float64:
        return reference.code_statistics(x, codes, num_codes, dim)
    rows = rows_of(x, dim)
    if rows.feature_stride != 1 and rows.features > 1:  # sorted rows are gathered, which needs contiguous features
        rows = rows_of(x.movedim(dim, -1).contiguous(), x.dim() - 1)
    device = x.device
    sums = torch.zeros((num_codes, rows.features), dtype=torch.float32, device=device)
    ids = codes.reshape(-1).long()
    ids = torch.where((ids >= 0) & (ids < num_codes), ids, num_codes).to(torch.int32)
    ids, order = torch.sort(ids, stable=True)
    starts = torch.searchsorted(ids, torch.arange(num_codes + 1, dtype=torch.int32, device=device))
    counts = starts[1:] - starts[:-1]
    if rows.count == 0 or rows.features == 0:
        return counts, sums
    chunks = triton.cdiv(rows.count, ROWS)
    parts = torch.empty((2, chunks, rows.features), dtype=torch.float64, device=device)  # head and tail of every chunk
    block = min(64, power_of_two(rows.features))
    feature_blocks = triton.cdiv(rows.features, block)
    launch(
        _segments_kernel,
        (chunks, feature_blocks),
        rows.x,
        ids,
        order,
        starts,
        parts,
        sums,
        rows.per_batch,
        rows.batch_stride,
        rows.row_stride,
        rows.count,
        rows.features,
        num_codes,
        chunks,
        ROWS=ROWS,
        BLOCK_FEATURES=block,
    )
    launch(
        _join_kernel,
        (num_codes, feature_blocks),
        starts,
        parts,
        sums,
        rows.features,
        chunks,
        ROWS=ROWS,
        BLOCK_FEATURES=block,
        num_warps=1,
    )
    return counts, sums


@triton.jit
def _segments_kernel(
    x_ptr,
    ids_ptr,
    order_ptr,
    starts_ptr,
    parts_ptr,
    sums_ptr,
    per_batch,
    batch_stride,
    row_stride,
    count,
    features,
    codes,
    chunks,
    ROWS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
):
    chunk = tl.program_id(0).to(tl.int64)
    first = chunk * ROWS
    position = first + tl.arange(0, ROWS)
    d = tl.program_id(1) * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    code = tl.load(ids_ptr + position, mask=position < count, other=codes)
    following = tl.load(ids_ptr + position + 1, mask=position + 1 < count, other=-1)
    kept = code < codes
    n = tl.load(order_ptr + position, mask=kept, other=0)
    at = row_offsets(n, per_batch, batch_stride, row_stride)[:, None] + d[None, :]
    x = tl.load(x_ptr + at, mask=kept[:, None] & (d < features)[None, :], other=0.0).to(tl.float64)

    keys = tl.broadcast_to(code[:, None], (ROWS, BLOCK_FEATURES))
    _, running = tl.associative_scan((keys, x), 0, _add_within_segment)

    ends = kept & ((following != code) | (position == first + ROWS - 1))
    segment = tl.where(kept, code, 0)
    start = tl.load(starts_ptr + segment)
    end = tl.load(starts_ptr + segment + 1)
    whole = (start >= first) & (end <= first + ROWS)
    slot = tl.where(start < first, 0, chunks).to(tl.int64) + chunk
    target = tl.where(whole, segment.to(tl.int64), slot)[:, None] * features + d[None, :]
    store = ends[:, None] & (d < features)[None, :]
    tl.store(sums_ptr + target, running.to(tl.float32), mask=store & whole[:, None])
    tl.store(parts_ptr + target, running, mask=store & ~whole[:, None])


@triton.jit
def _add_within_segment(key, total, other_key, other):
    return other_key, tl.where(key == other_key, total + other, other)


@triton.jit
def _join_kernel(starts_ptr, parts_ptr, sums_ptr, features, chunks, ROWS: tl.constexpr, BLOCK_FEATURES: tl.constexpr):
    code = tl.program_id(0).to(tl.int64)
    start = tl.load(starts_ptr + code)
    end = tl.load(starts_ptr + code + 1)
    first = start // ROWS
    last = (end - 1) // ROWS
    if (end > start) & (last > first):
        d = tl.program_id(1) * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
        inside = d < features
        total = tl.load(parts_ptr + (chunks + first) * features + d, mask=inside, other=0.0)
        for chunk in tl.range(first + 1, last + 1, ROWS):
            part = chunk + tl.arange(0, ROWS)
            heads = parts_ptr + part[:, None] * features + d[None, :]
            total += tl.sum(tl.load(heads, mask=(part <= last)[:, None] & inside[None, :], other=0.0), 0)
        tl.store(sums_ptr + code * features + d, total.to(tl.float32), mask=inside)
