from gsskernels.reference import maskige_encode

__all__ = ["maskige_encode"]
