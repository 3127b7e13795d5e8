"""Batches as a pure function of (seed, step), so that a resumed run sees what an uninterrupted one saw."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class SampleDataset(Protocol):
    """A data set that training can draw samples from."""

    def __len__(self) -> int: ...

    def sample(self, index: int, generator: torch.Generator) -> dict[str, Any]:
        """Sample `index`, augmented with randomness drawn from `generator` and from nowhere else."""
        ...


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from named parts, the same on every machine and Python (`hash()` is not).

    >>> derive_seed(0, "epoch", 0) == derive_seed(0, "epoch", 0) != derive_seed(0, "epoch", 1)
    True
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator_for(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded with `derive_seed(*parts)`."""
    return torch.Generator().manual_seed(derive_seed(*parts))


class Place(NamedTuple):
    """A sample of the run: `slot` counts the samples of `step` over all processes, `sample` indexes the data set."""

    step: int
    slot: int
    sample: int


class StepSampler(Sampler[list[Place]]):
    """The micro-batches of the steps `start` to `stop` that one process takes, as places in the data set.

    A step takes `batch_size * micro_batches` consecutive slots of its epoch's permutation. A remainder that fills no
    step is dropped. The places of a step depend on (seed, step) only, so a run can begin at any step.

    Args:
        samples: length of the data set.
        batch_size: samples of a micro-batch, over all processes.
        rank, world_size: this process takes its contiguous 1 / world_size of every micro-batch.

    Raises:
        ValueError: if there are fewer samples than one step takes, or `batch_size` does not split over the processes.

    >>> [[place.slot for place in batch] for batch in StepSampler(8, 2, 2, seed=0, start=0, stop=1)]
    [[0, 1], [2, 3]]
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        micro_batches: int = 1,
        *,
        seed: int,
        start: int,
        stop: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("gradient_accumulation", micro_batches)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if batch_size % world_size:
            raise ValueError(f"batch_size: expected a multiple of the {world_size} processes, got {batch_size}")
        check_step_size(samples, batch_size, micro_batches)
        self.samples, self.seed, self.start, self.stop = samples, seed, start, stop
        self.samples_per_step = batch_size * micro_batches
        self.steps_per_epoch = samples // self.samples_per_step
        share = batch_size // world_size
        self._slots = [
            range(first + rank * share, first + (rank + 1) * share)
            for first in range(0, self.samples_per_step, batch_size)
        ]

    def __len__(self) -> int:
        return (self.stop - self.start) * len(self._slots)

    def __iter__(self) -> Iterator[list[Place]]:
        epoch, order = -1, torch.empty(0)
        for step in range(self.start, self.stop):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = torch.randperm(self.samples, generator=generator_for(self.seed, "epoch", epoch))
            first = step % self.steps_per_epoch * self.samples_per_step
            for slots in self._slots:
                yield [Place(step, slot, int(order[first + slot])) for slot in slots]


class _Placed(Dataset[dict[str, Any]]):
    """The samples of a data set by their `Place`, each drawn with a generator seeded with (seed, step, slot).

    Neither the number of workers nor the split into micro-batches or processes changes a sample.
    """

    def __init__(self, dataset: SampleDataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, place: Place) -> dict[str, Any]:
        return self.dataset.sample(place.sample, generator_for(self.seed, "sample", place.step, place.slot))


def step_batches(
    dataset: SampleDataset, sampler: StepSampler, device: torch.device, workers: int
) -> Generator[dict[str, Any], None, None]:
    """The micro-batches of `sampler`, on the CPU; pinned where `device` is a GPU, so that copies there need not wait.

    `workers` processes draw samples ahead, or this one draws them when they are needed if 0. The workers leave Ctrl-C
    and SIGTERM to this process and end when the generator is closed.
    """
    loader = DataLoader(
        _Placed(dataset, sampler.seed),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_signals_to_main,
        generator=generator_for(sampler.seed, "workers"),  # the loader would draw from the global generator otherwise
    )
    batches = iter(loader)
    try:
        yield from batches
    finally:
        # the traceback of an error refers to the iterator, which would keep its workers alive
        getattr(batches, "_shutdown_workers", lambda: None)()


def loader_workers(device: torch.device, world_size: int = 1) -> int:
    """Worker processes of the loader: none on a CPU, where they would take the cores from the model."""
    return 0 if device.type == "cpu" else min(8, max(1, (os.cpu_count() or 1) // world_size))


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack tensors along a new first dimension B; anything else becomes a list of B items.

    >>> collate([{"x": torch.zeros(2), "name": "a"}, {"x": torch.ones(2), "name": "b"}])
    {'x': tensor([[0., 0.],
            [1., 1.]]), 'name': ['a', 'b']}
    """
    batch: dict[str, Any] = {}
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        batch[key] = torch.stack(values) if isinstance(values[0], Tensor) else values
    return batch


def check_step_size(samples: int, batch_size: int, micro_batches: int) -> None:
    """Raises ValueError if a data set of `samples` does not fill one step."""
    if samples < batch_size * micro_batches:
        raise ValueError(
            f"dataset: {samples} samples, but one step takes {batch_size * micro_batches} "
            f"(batch_size {batch_size} x gradient_accumulation {micro_batches}); lower batch_size"
        )


def _leave_signals_to_main(worker: int) -> None:
    # A terminal or a batch system signals every process. The main one finishes its step first and needs samples for it.
    # A second SIGTERM ends the worker: it comes from the main process, if the worker does not end when told to.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))
