"""What is measured on a GPU: what design promises first, so that a short run has it, then a wider table."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.gpu.place import Place
from benchmarks.kernels.cases import Case, _overhead, codebook, confusion, decode, encode, evaluate, label_resize

ROWS = 8 * 96 * 96  # the tokens of eight crops of 768 pixels

# By the ids of the roofline model's predictions (`benchmarks.static`).
PROMISED: dict[str, Case] = {
    "decode/k19/uint8": decode(1024, 2048, 19, "uint8"),
    "decode/k19/float32": decode(1024, 2048, 19, "float32"),
    "decode/k150/uint8": decode(1024, 2048, 150, "uint8"),
    "decode/k150/float32": decode(1024, 2048, 150, "float32"),
    "nearest_code/bfloat16": codebook("nearest_code", ROWS, 8192, 256, dtype="bfloat16"),
    "nearest_code/float32": codebook("nearest_code", ROWS, 8192, 256),
    "evaluate/k19/float32": evaluate(256, 512, 1024, 2048, 19),
    "evaluate/k150/float32": evaluate(256, 512, 1024, 2048, 150),
    "linear_argmax/bfloat16": codebook("linear_argmax", ROWS, 8192, 2048, dtype="bfloat16"),
    "linear_cross_entropy/bfloat16": codebook(
        "linear_cross_entropy", ROWS, 8192, 2048, dtype="bfloat16", backward=True
    ),
    "encode/16mpx/float32": encode(4096, 4096, 19, "float32"),
}

PREDICTED: dict[str, Case] = {
    "nearest_code/bfloat16/image": codebook("nearest_code", 9216, 8192, 256, dtype="bfloat16"),
    "linear_argmax/float32": codebook("linear_argmax", ROWS, 8192, 2048),
    "linear_sample/bfloat16": codebook("linear_sample", ROWS, 8192, 2048, dtype="bfloat16"),
    "linear_cross_entropy/bfloat16/loss": codebook(
        "linear_cross_entropy", ROWS, 8192, 2048, dtype="bfloat16", backward=False
    ),
    "code_statistics/float32": codebook("code_statistics", ROWS, 8192, 256),
    "label_resize/k19/uint8": label_resize(512, 512, 1024, 2048, 19),
    "confusion/k19/uint8": confusion(1024, 2048, 19),
}


def cases(place: Place, words: list[str]) -> list[Case]:
    """`words` keeps operations whose name contains one of them."""
    found = list(_tiny()) if place.dry else [*PROMISED.values(), *_overhead(), *PREDICTED.values(), *_wider()]
    return [case for case in found if not words or any(word in case.op for word in words)]


def _wider() -> Iterator[Case]:
    yield codebook("nearest_code", ROWS, 8192, 256, content="clustered")
    yield codebook("nearest_code", 9216, 8192, 256)
    yield codebook("nearest_code", ROWS, 1024, 64, dtype="float16")
    yield codebook("linear_argmax", 9216, 8192, 2048, dtype="bfloat16")
    yield codebook("linear_cross_entropy", 9216, 8192, 2048, dtype="bfloat16", backward=True)
    yield codebook("linear_cross_entropy", 9216, 8192, 512, backward=True)
    yield codebook("code_statistics", ROWS, 512, 32)
    yield decode(1024, 2048, 19, "bfloat16")
    yield decode(1024, 2048, 150, "float32", content="random")
    yield decode(512, 512, 150, "float32")
    yield decode(4096, 4096, 19, "float32")
    yield encode(1024, 2048, 19, "float32")
    yield encode(4096, 4096, 19, "bfloat16")
    yield encode(4096, 4096, 150, "uint8")
    yield label_resize(1024, 2048, 512, 1024, 19)
    yield confusion(1024, 2048, 150)


def _tiny() -> Iterator[Case]:
    yield decode(6, 5, 19, "uint8")
    yield evaluate(6, 5, 9, 4, 19)
    yield codebook("nearest_code", 9, 12, 8)
    yield codebook("linear_argmax", 9, 12, 8)
    yield codebook("linear_cross_entropy", 9, 12, 8, backward=True)
    yield encode(5, 7, 19, "float32")
    yield codebook("linear_sample", 9, 12, 8)
    yield codebook("code_statistics", 9, 12, 8)
    yield label_resize(6, 5, 9, 4, 19)
    yield confusion(6, 5, 19)
    yield encode(2, 2, 19, "float32", study="overhead")
