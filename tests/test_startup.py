"""What a command pays before its first line of work."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SLOW = ("torch.distributed.tensor", "matplotlib", "sklearn", "datasets", "accelerate", "PIL")


def loaded(program: str) -> set[str]:
    """Which of the slow modules a fresh interpreter holds after `program`."""
    told = subprocess.run(
        [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name for name in told.stdout.split() if name in SLOW}


@pytest.mark.parametrize("module", ["scorefield", "scorefield.run.open", "scorefield.likelihood"])
def test_an_import_loads_no_slow_module(module):
    assert not loaded(f"import {module}")


def test_a_planted_slow_import():
    assert loaded("import scorefield, torch.distributed.tensor") == {"torch.distributed.tensor"}
