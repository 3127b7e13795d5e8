"""How sure a prediction is: margins and probabilities, calibrated, and how well they find errors."""
