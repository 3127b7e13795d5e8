"""The nearest colour of a block of pixels, in registers, for decode, the "rgb" resize and evaluate.

    d[k] = (r - pr[k])^2 + (g - pg[k])^2 + (b - pb[k])^2        float32, in this order, nothing fused
    first = argmin d, second = argmin of the others             the lowest class on ties
    margin = <p1 - p2, x - (p1 + p2) / 2> / |p1 - p2|           the distance to the wall between them

There are two ways to find them, with the same answer. `nearest_of_all` compares every class. `nearest_in_cells`
compares the few classes that the cell of the pixel lists (cells.py). If any pixel of the block has no list, the whole
block is compared with every class; blocks of one warp make that branch cheap. Kernels that call these are launched with
exact=True.
"""

import triton
import triton.language as tl

from gsskernels.triton.cells import OUTSIDE, SLOTS, cell_of

LARGEST = tl.constexpr(3.4028234663852886e38)


@triton.jit
def squared_distance(r, g, b, color_ptr, mask):
    """Squared distances of pixels from the colours at `color_ptr`; undefined where `mask` is false."""
    x = r - tl.load(color_ptr, mask=mask)
    y = g - tl.load(color_ptr + 1, mask=mask)
    z = b - tl.load(color_ptr + 2, mask=mask)
    return x * x + y * y + z * z


@triton.jit
def consider(d, k, first, best, second, second_best, MARGIN: tl.constexpr):
    """Compares one more class at distance d. Classes ascend and must be strictly nearer: ties keep the lowest."""
    wins = d < best
    if MARGIN:
        runs_up = d < second_best
        second = tl.where(wins, first, tl.where(runs_up, k, second))
        second_best = tl.where(wins, best, tl.where(runs_up, d, second_best))
    first = tl.where(wins, k, first)
    best = tl.where(wins, d, best)
    return first, best, second, second_best


@triton.jit
def nearest_of_all(r, g, b, colors_ptr, num_classes, MARGIN: tl.constexpr, UNROLL: tl.constexpr):
    """Brute force. An infinite distance counts as the largest finite number, so it beats NaN, which never wins."""
    first = tl.full(r.shape, 0, tl.int32)
    second = first
    best = tl.full(r.shape, float("inf"), tl.float32)
    second_best = best
    for k in tl.range(0, num_classes, loop_unroll_factor=UNROLL):
        d = squared_distance(r, g, b, colors_ptr + 3 * k, None)
        d = tl.minimum(d, LARGEST, propagate_nan=tl.PropagateNan.ALL)
        first, best, second, second_best = consider(d, k, first, best, second, second_best, MARGIN)
    return first, best, second


@triton.jit
def nearest_in_cells(
    r, g, b, inside, colors_ptr, grid_ptr, cells_ptr, num_classes, BITS: tl.constexpr, MARGIN: tl.constexpr
):
    """Compares candidate lists. Pixels that are not `inside` the image do not lengthen the loop."""
    cell, in_grid = cell_of(r, g, b, grid_ptr, BITS)
    head = tl.load(cells_ptr + cell, mask=in_grid, other=0).to(tl.int32) & 0xFFFF
    count = tl.where(inside, head % 16, 1)
    most = tl.max(tl.where(count == 0, OUTSIDE, count), 0)
    first = head // 16
    second = first
    best = tl.full(r.shape, 0.0, tl.float32)
    if most == OUTSIDE:
        first, best, second = nearest_of_all(r, g, b, colors_ptr, num_classes, MARGIN, 1)
    elif most > 1:
        list_ptr = cells_ptr + (1 << 3 * BITS) + cell * SLOTS
        best = tl.full(r.shape, float("inf"), tl.float32)
        second_best = best
        for n in range(most):
            listed = n < count
            k = tl.load(list_ptr + n, mask=listed, other=0).to(tl.int32)
            d = squared_distance(r, g, b, colors_ptr + 3 * k, listed)
            d = tl.where(listed, d, float("inf"))
            first, best, second, second_best = consider(d, k, first, best, second, second_best, MARGIN)
    return first, best, second


@triton.jit
def nearest(r, g, b, inside, colors_ptr, grid_ptr, cells_ptr, num_classes, BITS: tl.constexpr, MARGIN: tl.constexpr):
    """The nearest class, a distance that is finite if its own is, the second nearest class. BITS 0: no cells."""
    if BITS > 0:
        first, best, second = nearest_in_cells(
            r, g, b, inside, colors_ptr, grid_ptr, cells_ptr, num_classes, BITS, MARGIN
        )
    else:
        first, best, second = nearest_of_all(r, g, b, colors_ptr, num_classes, MARGIN, 4)
    return first, best, second


@triton.jit
def wall_distance(r, g, b, first, best, second, colors_ptr):
    """(d2^2 - d1^2) / (2 |p1 - p2|) without cancellation. 0 where the colours are equal or no distance is finite."""
    along = tl.full(r.shape, 0.0, tl.float32)
    length = along
    for channel in tl.static_range(3):
        x = r if channel == 0 else (g if channel == 1 else b)
        p1 = tl.load(colors_ptr + 3 * first + channel)
        p2 = tl.load(colors_ptr + 3 * second + channel)
        along += (p1 - p2) * (x - (p1 + p2) * 0.5)
        length += (p1 - p2) * (p1 - p2)
    distance = tl.div_rn(along, tl.sqrt_rn(tl.where(length > 0, length, 1.0)))
    distance = tl.where(length > 0, distance, 0.0)
    distance = tl.where(distance < 0, 0.0, distance)  # keeps NaN, as the reference does
    return tl.where(best < LARGEST, distance, 0.0)
