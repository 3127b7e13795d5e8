"""Batches as a pure function of (seed, step): what makes a resumed run see what an uninterrupted one saw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch import Tensor


class SampleDataset(Protocol):
    """What training asks of a dataset."""

    def __len__(self) -> int: ...

    def sample(self, index: int, generator: torch.Generator) -> dict[str, Any]:
        """Sample `index`, augmented with randomness drawn from `generator` and from nowhere else."""
        ...


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from named parts, the same on every machine and Python (`hash()` is not)."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator_for(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded from `derive_seed(*parts)`."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack tensors along a new first dimension B; anything else becomes a list of B items."""
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


class BatchSource:
    """The micro-batches of each step, prepared one step ahead in background threads.

    A step takes `batch_size * micro_batches` consecutive places ("slots") of its epoch's permutation; a rest that fills
    no step is dropped. Slot i of step s is drawn with a generator seeded from (seed, s, i), so neither the number of
    threads nor the split into micro-batches or processes changes a sample.

    Args:
        batch_size: samples a micro-batch, over all processes.
        rank, world_size: this process takes its contiguous 1 / world_size of every micro-batch.
        workers: background threads.

    Raises:
        ValueError: if the dataset holds fewer samples than one step, or `batch_size` does not split over the processes.
    """

    def __init__(
        self,
        dataset: SampleDataset,
        batch_size: int,
        micro_batches: int = 1,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 1,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("gradient_accumulation", micro_batches)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if batch_size % world_size:
            raise ValueError(f"batch_size: expected a multiple of the {world_size} processes, got {batch_size}")
        check_step_size(len(dataset), batch_size, micro_batches)
        self.samples_per_step = batch_size * micro_batches
        self.steps_per_epoch = len(dataset) // self.samples_per_step
        self.dataset = dataset
        self.seed = seed
        share = batch_size // world_size
        self._slots = [[micro * batch_size + rank * share + i for i in range(share)] for micro in range(micro_batches)]
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="gss-data")
        self._ahead: tuple[int, list[list[Future[dict[str, Any]]]]] | None = None
        self._permutation: tuple[int, list[int]] | None = None

    def indices(self, step: int) -> list[int]:
        """Dataset indices of every slot of `step`, over all processes."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._permutation is None or self._permutation[0] != epoch:
            order = torch.randperm(len(self.dataset), generator=generator_for(self.seed, "epoch", epoch)).tolist()
            self._permutation = (epoch, order)
        start = place * self.samples_per_step
        return self._permutation[1][start : start + self.samples_per_step]

    def batches(self, step: int, *, prefetch: bool = True) -> list[dict[str, Any]]:
        """This process's micro-batches of `step`; starts on those of `step + 1` if `prefetch`."""
        pending = self._ahead[1] if self._ahead is not None and self._ahead[0] == step else self._submit(step)
        self._ahead = (step + 1, self._submit(step + 1)) if prefetch else None
        return [collate([future.result() for future in micro]) for micro in pending]

    def close(self) -> None:
        """Stop the threads; work that has not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, step: int) -> list[list[Future[dict[str, Any]]]]:
        indices = self.indices(step)
        return [[self._pool.submit(self._sample, step, slot, indices[slot]) for slot in micro] for micro in self._slots]

    def _sample(self, step: int, slot: int, index: int) -> dict[str, Any]:
        return self.dataset.sample(index, generator_for(self.seed, "sample", step, slot))
