"""Times configurations of the table-driven kernels on a GPU and writes its table: ``python -m gsskernels.tune``."""
