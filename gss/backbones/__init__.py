"""Image encoders: one factory over transformers' AutoBackbone."""

from .image_encoder import ImageEncoder

__all__ = ["ImageEncoder"]
