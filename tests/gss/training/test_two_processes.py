"""A whole run in two processes on a CPU: one folder, one log, a model that loads."""

import os
import subprocess
import sys
from pathlib import Path

import gss
from gss.training.metrics_log import read_metrics

SCRIPT = """
import sys
from pathlib import Path
from gss.config import InverseConfig
from gss.training.run import train
from tests.gss.tiny import tiny_recipe

recipe = tiny_recipe(inverse=InverseConfig(type="convolution", channels=4))
recipe.inverse_stage = recipe.prior_stage
train(recipe, Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(data), str(tmp_path / "run")],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = [(line["stage"], line["step"]) for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert steps == [(stage, step) for stage in ("tokenizer", "prior", "inverse") for step in (1, 2, 3)]
    assert not [file for file in (tmp_path / "run").iterdir() if file.name.startswith(".")]
    assert gss.load(tmp_path / "run").inverse is not None
