"""Training: every stage of a recipe, resumable bit by bit. `gss.train` is `gss.training.run.train`."""
