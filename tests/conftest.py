"""Sets the threads of parallel test processes and Triton's interpreter, before torch or triton is imported.

Without a GPU Triton's kernels run in its interpreter, as Python on CPU tensors.
"""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Parallel processes divide the processors among their threads, and a thread that waits for others must not spin
    # on a processor that another process could use. Tests of threads set their number themselves.
    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(share))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
