"""Seconds and peak memory of `gss decode` for a picture that is too large to hold in memory.

    python -m benchmarks.model.decode_large --out benchmarks/results/decode_large.json

The picture is a map of blocks in the colours of a palette, one pixel in a thousand in a colour of its own. It is
written here in pieces, decoded with its margins by a process of its own, and deleted. The disk needs some 100 MB.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

from benchmarks.kernels import machine
from gss.io.files import write_text
from gss.palette import get_palette

PALETTE = get_palette("cityscapes")
ROWS = 100  # of the piece that is repeated to the bottom
KINDS = {"index": 1, "RGB": 3}  # bytes a pixel
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
    parser.add_argument("--only", choices=KINDS, nargs="*", default=list(KINDS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    for kind in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "painted.png"
            write_picture(picture, arguments.side, KINDS[kind])
            row = {"picture": kind, "file_mb": round(picture.stat().st_size / 1e6, 1), **decode(picture)}
        results.append(row)
        print(json.dumps(row), flush=True)
    if arguments.out is not None:
        found = {"side": arguments.side, "palette": PALETTE.name, "machine": machine.describe(), "results": results}
        write_text(arguments.out, json.dumps(found, indent=2) + "\n")


def decode(picture: Path) -> dict[str, float]:
    """`gss decode --margin`, with the start of Python: seconds, seconds of processors, peak memory."""
    options = ["--palette", PALETTE.name, "--out", str(picture.with_name("labels.png")), "--margin"]
    start = time.perf_counter()
    child = subprocess.run([sys.executable, "-c", CHILD, str(picture), *options], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if child.returncode:
        raise SystemExit(child.stderr)
    peak, processors = child.stderr.split()[-2:]
    megabytes = int(peak) * 1024 / 1e6
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(float(processors), 1),
        "peak_mb": round(megabytes),
    }


def write_picture(path: Path, side: int, bytes_per_pixel: int) -> None:
    """A PNG of side x side pixels without filters, whose first `ROWS` rows are repeated to the bottom."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, PALETTE.num_classes, (ROWS // 10, -(-side // 40)), dtype=np.uint8)
    labels = blocks.repeat(10, 0).repeat(40, 1)[:, :side]
    colors = np.array(PALETTE.colors, np.uint8)
    rows, plte, color_type = labels, chunk(b"PLTE", colors.tobytes()), 3
    if bytes_per_pixel == 3:
        painted = colors[labels]
        odd = rng.random(labels.shape) < 0.001
        painted[odd] = rng.integers(0, 256, (int(odd.sum()), 3), dtype=np.uint8)
        rows, plte, color_type = painted.reshape(ROWS, -1), b"", 2
    piece = np.pad(rows, ((0, 0), (1, 0))).tobytes()  # a zero before each row: no filter
    header = struct.pack(">2I5B", side, side, 8, color_type, 0, 0, 0)
    deflate = zlib.compressobj(1)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + plte)
        for _ in range(side // ROWS):
            file.write(chunk(b"IDAT", deflate.compress(piece)))
        file.write(chunk(b"IDAT", deflate.flush()) + chunk(b"IEND", b""))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    main()
