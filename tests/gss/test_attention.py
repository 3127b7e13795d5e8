import pytest
import torch

from gss.attention import attention, transformers_attention, xformers_reason


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

    from gss.backbones.image_encoder import ATTENTION, ImageEncoder

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
