from gsskernels.reference import linear_cross_entropy, linear_cross_entropy_backward

__all__ = ["linear_cross_entropy", "linear_cross_entropy_backward"]
