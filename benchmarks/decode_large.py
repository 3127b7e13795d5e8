"""Seconds and peak memory of `gss decode` for pictures too large to hold in memory, by how their PNG is stored.

    python benchmarks/decode_large.py --out benchmarks/results/decode_large.json

Each picture is a map of blocks in the colours of a palette, one pixel in a thousand in a colour of its own, made here
in pieces of `ROWS` rows, decoded with its margins by a process of its own, and deleted. The disk needs some 100 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from gss.io.files import write_text
from gss.palette import get_palette

PALETTE = get_palette("cityscapes")
ROWS = 100  # of the piece that is repeated to the bottom
NONE, SUB, UP, AVERAGE, PAETH = range(5)
PICTURES = {  # bytes a pixel, filters in turn from row to row
    "index, no filter": (1, (NONE,)),
    "RGB, no filter": (3, (NONE,)),
    "RGB, Sub": (3, (SUB,)),
    "RGB, Up": (3, (UP,)),
    "RGB, Paeth": (3, (PAETH,)),
    "RGB, all five in turn": (3, (NONE, SUB, UP, AVERAGE, PAETH)),
}
CHILD = """
import os, re, sys
from pathlib import Path
from gss.cli import main
status = main(["decode", *sys.argv[1:]])
peak = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(peak, sum(os.times()[:2]), file=sys.stderr)
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=40_000, help="columns, and rows, a multiple of 100")
    parser.add_argument("--only", choices=PICTURES, nargs="*", default=list(PICTURES))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "painted.png"
            write_picture(picture, arguments.side, *PICTURES[name])
            size = picture.stat().st_size / 1e6
            seconds, processor, peak = decode(picture)
        print(
            f"{name}: {size:.0f} MB on disk, {seconds:.0f} s, {processor:.0f} s of processors, peak {peak:.0f} MB",
            flush=True,
        )
        numbers = {"file_mb": round(size, 1), "seconds": round(seconds, 1), "cpu_seconds": round(processor, 1)}
        results.append({"picture": name, **numbers, "peak_mb": round(peak)})
    if arguments.out is not None:
        values = {"side": arguments.side, "palette": PALETTE.name, "machine": machine(), "results": results}
        write_text(arguments.out, json.dumps(values, indent=2) + "\n")


def decode(picture: Path) -> tuple[float, float, float]:
    """Of `gss decode --margin`, the start of Python included: seconds, seconds of processors, peak memory in MB."""
    options = ["--palette", PALETTE.name, "--out", str(picture.with_name("labels.png")), "--margin"]
    start = time.perf_counter()
    child = subprocess.run([sys.executable, "-c", CHILD, str(picture), *options], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if child.returncode:
        raise SystemExit(child.stderr)
    peak, processor = child.stderr.split()
    return seconds, float(processor), int(peak) * 1024 / 1e6


def write_picture(path: Path, side: int, bytes_per_pixel: int, filters: tuple[int, ...]) -> None:
    """A PNG of side x side pixels whose first `ROWS` rows, filtered, are repeated to the bottom."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, PALETTE.num_classes, (ROWS // 10, -(-side // 40)), dtype=np.uint8)
    labels = blocks.repeat(10, 0).repeat(40, 1)[:, :side]
    colors = np.array(PALETTE.colors, np.uint8)
    if bytes_per_pixel == 1:
        rows, plte = labels, chunk(b"PLTE", colors.tobytes())
    else:
        painted = colors[labels]
        odd = rng.random(labels.shape) < 0.001
        painted[odd] = rng.integers(0, 256, (int(odd.sum()), 3), dtype=np.uint8)
        rows, plte = painted.reshape(ROWS, -1), b""
    piece = filtered(rows, filters, bytes_per_pixel).tobytes()
    deflate = zlib.compressobj(1)
    with path.open("wb") as file:
        color_type = 3 if bytes_per_pixel == 1 else 2
        file.write(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", side, side, 8, color_type, 0, 0, 0)) + plte
        )
        for _ in range(side // ROWS):
            file.write(chunk(b"IDAT", deflate.compress(piece)))
        file.write(chunk(b"IDAT", deflate.flush()) + chunk(b"IEND", b""))


def filtered(rows: np.ndarray, filters: tuple[int, ...], bytes_per_pixel: int) -> np.ndarray:
    """uint8 (rows, stride) as PNG stores them, (rows, 1 + stride)."""
    left = np.zeros_like(rows)
    left[:, bytes_per_pixel:] = rows[:, :-bytes_per_pixel]
    above, corner = (np.concatenate([np.zeros_like(part[:1]), part[:-1]]) for part in (rows, left))
    out = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    for y in range(rows.shape[0]):
        kind = filters[y % len(filters)]
        if y == 0 and kind > SUB:
            kind = SUB  # above the piece there is nothing at first, and its last row later
        out[y, 0] = kind
        a, b, c = (part[y].astype(np.int16) for part in (left, above, corner))
        nearest = np.stack([abs(b - c), abs(a - c), abs(a + b - 2 * c)]).argmin(0)
        guess = (np.zeros_like(a), a, b, (a + b) // 2, np.choose(nearest, [a, b, c]))[kind]
        out[y, 1:] = rows[y] - guess.astype(np.uint8)
    return out


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def machine() -> dict[str, Any]:
    file = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.*)", file.read_text()) if file.exists() else None
    return {
        "cpu": model[1] if model else platform.processor(),
        "cpus": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "load_average": os.getloadavg(),
    }


if __name__ == "__main__":
    main()
