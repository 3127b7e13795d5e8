import sys
import types

import pytest
import torch

from gss.model.attention import _xformers_attention, attention, transformers_attention, xformers_reason


def test_attention_equals_the_formula_with_bias_and_scale() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 5, 4, dtype=torch.float64)
    bias = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    expected = (query @ key.transpose(-1, -2) * 0.3 + bias).softmax(-1) @ value
    assert torch.allclose(attention(query, key, value, bias, scale=0.3), expected)


def test_without_cuda_the_reason_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert xformers_reason() == "no CUDA device"


def test_transformers_backbones_use_it_and_agree_with_sdpa() -> None:
    from transformers import AutoBackbone, SwinConfig

    from gss.model.backbones.image_encoder import ATTENTION, ImageEncoder

    keys = dict(embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=3, out_features=["stage1", "stage2"])
    torch.manual_seed(0)
    encoder = ImageEncoder({"model_type": "swin", **keys}).eval()
    assert encoder.backbone.config._attn_implementation == ATTENTION
    plain = AutoBackbone.from_config(SwinConfig(**keys), attn_implementation="sdpa").eval()
    plain.load_state_dict(encoder.backbone.state_dict())
    image = torch.randn(1, 3, 40, 52)
    for ours, theirs in zip(encoder.backbone(image).feature_maps, plain(image).feature_maps, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert encoder.channels == [8, 16]


def test_attention_dropout_is_refused() -> None:
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="dropout"):
        transformers_attention(torch.nn.Identity(), x, x, x, None, dropout=0.1)


class StandIn:
    """xformers.ops where there is no CUDA: the documented contract of memory_efficient_attention, checked and computed.

    Tensors are (B, M, heads, C); an additive bias (B, heads, M, N) of the query's dtype, whose rows start at multiples
    of 8 elements in memory.
    """

    def __init__(self) -> None:
        self.calls = 0

    def memory_efficient_attention(self, query, key, value, attn_bias=None, scale=None):
        self.calls += 1
        batch, rows, heads, _ = query.shape
        scores = torch.einsum("bmhc,bnhc->bhmn", query, key) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_bias is not None:
            assert attn_bias.shape == (batch, heads, rows, key.shape[1]) and attn_bias.dtype == query.dtype
            assert attn_bias.stride(-1) == 1 and attn_bias.stride(-2) % 8 == 0
            scores = scores + attn_bias
        return torch.einsum("bhmn,bnhc->bmhc", scores.softmax(-1), value)


@pytest.mark.parametrize("columns", [49, 8, 5])
@pytest.mark.parametrize("bias_shape", [None, (1, 2, 5, None), (3, 1, 5, None), (3, 2, 5, None)])
def test_what_xformers_is_given_means_the_same(columns: int, bias_shape, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "xformers", types.SimpleNamespace(ops=stand_in))
    monkeypatch.setitem(sys.modules, "xformers.ops", stand_in)
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 5, 4), torch.randn(3, 2, columns, 4), torch.randn(3, 2, columns, 4)
    bias = None if bias_shape is None else torch.randn(*bias_shape[:3], columns, dtype=torch.float64)
    expected = attention(query, key, value, None if bias is None else bias.float(), 0.3)
    got = _xformers_attention(query, key, value, bias, 0.3)
    assert stand_in.calls == 1
    assert torch.allclose(got, expected, atol=1e-6)
