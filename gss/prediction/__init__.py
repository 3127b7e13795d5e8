"""Predictions beyond one label map: hypotheses, masks without an image, calibration, and painted pictures."""
