from gsskernels.reference import linear_argmax, linear_sample, nearest_code

__all__ = ["linear_argmax", "linear_sample", "nearest_code"]
