"""A sample is its own: whatever shares its batch, whenever it was paused, wherever it runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scorefield.base import Seeded
from scorefield.solve import DDPM, laws
from tests.laws import batches
from tests.laws.entries import SOLVERS
from tests.laws.steps import Hidden2M
from tests.refusal import fails

ROOT = Path(__file__).parents[2]
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


@every_solver
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_neighbours_and_order_do_not_matter(solver, dtype):
    laws.check_neighbours(solver, dtype=dtype)


def test_planted_batch_dependence_in_a_run():
    fails("", laws.check_neighbours, batches.BatchNormed())
    fails("", laws.check_neighbours, DDPM(), batches.IndexNoise)


@every_solver
def test_a_pause_changes_nothing(solver, tmp_path):
    def kept(state):
        save_file(state, tmp_path / "state.safetensors")
        return load_file(tmp_path / "state.safetensors")

    laws.check_resume(solver, kept=kept)


def test_a_planted_memory_outside_the_state():
    fails("", laws.check_resume, Hidden2M())
    fails("", laws.check_resume, DDPM(), batches.CounterNoise)


def elsewhere(noise: str) -> dict[str, str]:
    code = (
        "import json, torch; torch.set_num_threads(1)\n"
        "from scorefield.base import Seeded\n"
        "from tests.laws import batches\n"
        f"print(json.dumps(batches.digests({noise})))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])


def test_another_process_gives_the_same_bits():
    assert elsewhere("Seeded") == batches.digests(Seeded)


def test_a_planted_process_dependence():
    salted = elsewhere("batches.SaltedNoise")
    here = batches.digests(batches.SaltedNoise)
    for name, solver in SOLVERS.items():
        assert (salted[name] == here[name]) == (not solver.stochastic)
