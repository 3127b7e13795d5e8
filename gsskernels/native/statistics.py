from gsskernels.reference import code_statistics, confusion_matrix

__all__ = ["code_statistics", "confusion_matrix"]
