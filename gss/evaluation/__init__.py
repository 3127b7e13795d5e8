"""Scores of a model, a tokenizer or a confidence against labelled data, and the report of a run."""
