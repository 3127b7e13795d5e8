"""What a tokenizer costs: floating-point operations a maskige pixel, counted on the operators it calls.

    python -m benchmarks.tokenizer_cost

A multiplication and an addition are two operations. Only products count, as is usual: convolutions, linear layers,
attention, and the search for the nearest code, where the DALL-E dVAE has its last layer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import gsskernels
from gss.config import CompactConfig, DalleConfig, TokenizerConfig, VqganConfig
from gss.model.tokenizers.protocol import build_tokenizer

assert gsskernels  # registers the operators


class Cost(NamedTuple):
    """Operations a maskige pixel."""

    encode: float
    decode: float


def _search(x_shape: Any, table_shape: Any, *arguments: Any, out_shape: Any = None, **settings: Any) -> int:
    """Every row of x (B, D, h, w) with every row of the table (V, D)."""
    rows = torch.Size(out_shape).numel()
    return 2 * rows * torch.Size(table_shape).numel()


def _attention(query: Any, key: Any, value: Any, *arguments: Any, out_shape: Any = None, **settings: Any) -> int:
    """Every query (B, heads, M, C) with every key (B, heads, N, C), and the weights with the values."""
    batch, heads, rows, width = query
    return 2 * batch * heads * rows * key[2] * (width + value[3])


OPERATORS = {
    torch.ops.gsskernels.nearest_code: _search,
    torch.ops.gsskernels.linear_argmax: _search,
    # PyTorch counts the attention of GPUs only.
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}


def tokenizer_cost(config: TokenizerConfig, side: int = 256) -> Cost:
    """Counted on a square maskige of `side` pixels, which only matters where there is attention; computes nothing."""
    with FakeTensorMode():
        tokenizer = build_tokenizer(config).eval()
        maskige = torch.zeros(1, 3, side, side)
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=OPERATORS) as encoding:
            tokens = tokenizer.encode(maskige)
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=OPERATORS) as decoding:
            tokenizer.decode(tokens)
    return Cost(encoding.get_total_flops() / side**2, decoding.get_total_flops() / side**2)


def main() -> None:
    configs: dict[str, TokenizerConfig] = {
        "compact, the default": CompactConfig(),
        "compact, camvid-small": CompactConfig(stride=2, codes=512, width=48, encoder_blocks=1, decoder_blocks=2),
        "DALL-E dVAE": DalleConfig(),
        "VQGAN, ImageNet f16": VqganConfig(),
    }
    table = Table("tokenizer", "stride", "codes", "encode, kFLOP a maskige pixel", "decode", "both, of the dVAE's")
    dalle = sum(tokenizer_cost(DalleConfig()))
    for name, config in configs.items():
        cost = tokenizer_cost(config)
        stride = build_stride(config)
        table.add_row(
            name,
            str(stride),
            str(config.codes),
            f"{cost.encode / 1e3:,.1f}",
            f"{cost.decode / 1e3:,.1f}",
            f"1 / {dalle / sum(cost):,.1f}",
        )
    Console().print(table)


def build_stride(config: TokenizerConfig) -> int:
    """Maskige pixels a token side."""
    with torch.device("meta"):
        return build_tokenizer(config).stride


if __name__ == "__main__":
    main()
