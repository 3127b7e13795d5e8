"""What can be known of the GPU kernels without a GPU: that they compile, their machine code, the time it should take.

    catalogue.py   calls of every operation, recorded on meta tensors for each architecture
    variants.py    recorded launches as Triton would specialise them, without duplicates
    compiler.py    variants to machine code, in two processes
    sass.py        machine code to loops and instruction counts
    checks.py      what must hold of every kernel
    table.py       one row a variant and architecture; what changed since the stored one
    work.py        rounds of loops, bytes and products of each kernel
    promises.py    the promised calls and their work
    roofline.py    time on an H200 from bytes, products and counted instructions
    page.py        docs/kernels/static.md

`python -m benchmarks.static` compares a fresh run with the table, `--write` replaces table and page.
"""
