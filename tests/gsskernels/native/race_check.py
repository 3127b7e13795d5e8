"""Every operation on four native threads, for `make sanitize`, which runs this under ThreadSanitizer.

torch itself stays on one thread: its OpenMP runtime is not instrumented, and reports would be about that.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[3]))


from gsskernels import _dispatch
from gsskernels.native import library
from tests.gsskernels.calls import CALLS
from tests.gsskernels.inputs import same

_dispatch.default = "native"
for isa in library.available_isas():
    with library.forced_isa(isa):
        for name, call in CALLS.items():
            torch.get_num_threads = lambda: 1
            alone = call()
            torch.get_num_threads = lambda: 4
            assert same(alone, call()), f"{name} depends on the number of threads ({isa})"
    print(f"{isa}: {len(CALLS)} calls on 4 threads")
