"""How sure a prediction is: certainty and margin, calibrated, and how well they find errors."""
