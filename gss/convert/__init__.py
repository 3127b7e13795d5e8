"""Weights of others in the layouts of this project, read without executing anything that the files contain."""
