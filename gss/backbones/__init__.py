"""Image encoders: one factory over transformers' AutoBackbone and the official backbones that it lacks."""

from .hrnet import HRNetV2
from .image_encoder import ImageEncoder
from .resnet import ResNetV1c

__all__ = ["HRNetV2", "ImageEncoder", "ResNetV1c"]
