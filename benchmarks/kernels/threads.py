"""One thread count for every library: each brings its own pool and its own way to size it."""

from __future__ import annotations

import os
import sys

import torch


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use(threads: int) -> None:
    """Sets the pools of torch (gsskernels follows it), faiss, OpenCV, and every BLAS and OpenMP runtime loaded so far.

    Libraries are not imported for this; call it again after importing one. scipy takes the number at each call.
    """
    torch.set_num_threads(threads)
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(threads)
