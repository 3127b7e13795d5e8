"""The interface of all tokenizers, and the constructor of the configured one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from gss.config import CompactConfig, DalleConfig, TokenizerConfig

if TYPE_CHECKING:
    from gss.model.tokenizers.compact import CompactTokenizer
    from gss.model.tokenizers.dalle import DalleTokenizer
    from gss.model.tokenizers.vqgan import VqganTokenizer


class Tokenizer(Protocol):
    """Maskiges (B, 3, H, W) in 0..1 <-> tokens (B, h, w) in 0..V-1, each standing for stride x stride pixels."""

    stride: int

    @property
    def codes(self) -> int:
        """V"""
        ...

    @property
    def codebook(self) -> Tensor:
        """(V, D): the vector of each token, as `decode_vectors` takes it."""
        ...

    def encode(self, maskige: Tensor) -> Tensor: ...

    def encode_logits(self, maskige: Tensor) -> Tensor:
        """Scores (B, V, h, w) of all codes, with a gradient; `encode` takes the code of the largest."""
        ...

    def decode(self, tokens: Tensor) -> Tensor: ...

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Codebook rows or mixtures of them (B, D, h, w) -> maskige (B, 3, h * stride, w * stride) in 0..1."""
        ...


def build_tokenizer(config: TokenizerConfig) -> CompactTokenizer | DalleTokenizer | VqganTokenizer:
    """The tokenizer with random weights; one that is never trained here is frozen."""
    if isinstance(config, CompactConfig):
        from gss.model.tokenizers.compact import CompactTokenizer

        return CompactTokenizer(config)
    if isinstance(config, DalleConfig):
        from gss.model.tokenizers.dalle import DalleTokenizer

        return DalleTokenizer(config).requires_grad_(False).eval()
    from gss.model.tokenizers.vqgan import VqganTokenizer

    return VqganTokenizer(config).requires_grad_(False).eval()
