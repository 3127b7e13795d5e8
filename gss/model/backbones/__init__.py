"""Image encoders: one factory over transformers' AutoBackbone and the official backbones that it lacks."""

from gss.model.backbones.hrnet import HRNetV2
from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.backbones.resnet import ResNetV1c

__all__ = ["HRNetV2", "ImageEncoder", "ResNetV1c"]
