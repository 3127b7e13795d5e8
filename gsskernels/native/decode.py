from gsskernels.reference import label_resize, maskige_decode, maskige_evaluate

__all__ = ["label_resize", "maskige_decode", "maskige_evaluate"]
