"""The version, in one place: the build reads it from here, `gss.__version__` shows it."""

__version__ = "0.1.0"
