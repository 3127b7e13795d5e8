"""The GPU kernels, compiled ahead of time on a machine without a GPU.

    catalogue.py   calls of every operation, recorded on meta tensors for each architecture
    variants.py    recorded launches as Triton would specialise them, without duplicates
    compiler.py    variants to machine code, in two processes
    sass.py        machine code to loops and instruction counts
    checks.py      requirements on the machine code of every kernel
    table.py       one row a variant and architecture; differences from the checked-in table
    page.py        docs/kernels/static.md

`python -m benchmarks.static` compares a fresh run with the table; `--write` replaces table and page.
"""
