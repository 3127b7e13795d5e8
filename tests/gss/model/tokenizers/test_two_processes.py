"""The codebook of two processes: the same in both, and that of one process which has both batches."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from gss.model.tokenizers.vector_quantizer import VectorQuantizer, draw_rows

STEPS, ROWS, CODES, DIM = 8, 96, 12, 4


def batches() -> torch.Tensor:
    """(STEPS, 2, 1, D, ROWS, 1): three clusters a process, others in each; they jump once, so that codes die."""
    generator = torch.Generator().manual_seed(5)
    centres = torch.randn(STEPS, 2, 3, DIM, generator=generator) * 4
    centres[:3], centres[3:] = centres[0].clone(), centres[3].clone()
    choice = torch.randint(3, (STEPS, 2, ROWS), generator=generator)
    rows = torch.gather(centres, 2, choice[..., None].expand(-1, -1, -1, DIM))
    rows = rows + 0.3 * torch.randn(rows.shape, generator=generator)
    return rows.permute(0, 1, 3, 2)[:, :, None, :, :, None]


def quantizer() -> VectorQuantizer:
    return VectorQuantizer(CODES, DIM, decay=0.5, dead_share=0.3).train()


def run(parts: list[int], seed: int) -> dict[str, torch.Tensor]:
    """Train on the batches of these processes; what is left, and how many codes each step restarted."""
    torch.manual_seed(0)
    model, restarted = quantizer(), []
    for step, data in enumerate(batches()):
        torch.manual_seed(1000 * step + seed)
        out = model(torch.cat([data[part] for part in parts], dim=2))
        restarted.append(model.health()["codes_restarted"])
    drawn = draw_rows(out.vectors[0, :, :, 0].T.contiguous(), torch.ones(len(parts) * ROWS), 5)
    health = {f"health {name}": value for name, value in model.health().items()}
    return {**model.state_dict(), **health, "restarts": torch.stack(restarted), "drawn": drawn}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    # Random numbers of their own, as in training.
    torch.save(run([rank], seed=rank), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available() or sys.platform == "win32", reason="no gloo")
def test_two_processes_have_the_codebook_of_one_with_both_batches(tmp_path: Path) -> None:
    multiprocessing.spawn(worker, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name

    joint = run([0, 1], seed=0)
    assert torch.equal(first["restarts"], joint["restarts"])
    assert first["restarts"].sum() > CODES / 2  # the test sees restarts, not only averages
    for name, value in joint.items():
        torch.testing.assert_close(first[name], value, atol=1e-4, rtol=1e-4, msg=lambda text, name=name: name + text)
    for part in batches()[-1].squeeze():  # the vectors of either process have a code near them
        assert torch.cdist(part.T, first["codebook"]).min(1).values.mean() < 1.0


def test_drawn_rows_follow_their_weights() -> None:
    torch.manual_seed(0)
    rows = torch.arange(4.0)[:, None]
    drawn = draw_rows(rows, torch.tensor([1.0, 0.0, 2.0, 5.0]), 4000).flatten()
    share = torch.bincount(drawn.long(), minlength=4) / 4000
    assert share[1] == 0
    torch.testing.assert_close(share, torch.tensor([0.125, 0.0, 0.25, 0.625]), atol=0.03, rtol=0)
