"""Inference: images in, averaged class scores out, whatever model gives the scores.

A model is a function `Score` here. Images are resized (resize), cut into windows (windows), scored and averaged
(scores), and several views of one image are put together (predict).
"""

from gss.config import InferenceConfig
from gss.io.images import to_image, to_images
from gss.io.resize import fit_box, resize_images
from gss.model.views.predict import labels_and_margin, needs_scores, predict_labels, predict_scores, view_sizes
from gss.model.views.scores import Score, rescale, slide_scores, softmax_, whole_scores
from gss.model.views.windows import ALIGNMENT, coverage, pad_to_alignment, window_starts, windows

__all__ = [
    "ALIGNMENT",
    "InferenceConfig",
    "Score",
    "coverage",
    "fit_box",
    "labels_and_margin",
    "needs_scores",
    "pad_to_alignment",
    "predict_labels",
    "predict_scores",
    "rescale",
    "resize_images",
    "slide_scores",
    "softmax_",
    "to_image",
    "to_images",
    "view_sizes",
    "whole_scores",
    "window_starts",
    "windows",
]
