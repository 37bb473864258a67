"""Freed memory is kept for the next step: it is not taken from the system again."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource
import torch
from scorefield.base.memory import keep_freed_memory

torch.set_num_threads(1)
kept = {keep}


def step():
    held = [torch.ones(2**24) for _ in range(2)]  # 64 MiB each: left alone, always given back
    return sum(float(x[0]) for x in held)


for _ in range(5):
    step()  # until it has what it needs
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(kept, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 5)
"""


def faults(keep: str) -> tuple[bool, float]:
    code = STEPS.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, count = done.stdout.split()
    return kept == "True", float(count)


LIBC, VERSION = platform.libc_ver()
told = pytest.mark.skipif(
    LIBC != "glibc" or tuple(map(int, VERSION.split("."))) < (2, 35),
    reason="only glibc can be told, and before 2.35 for smaller blocks",
)


@told
def test_a_step_takes_no_pages_again() -> None:
    kept, count = faults("keep_freed_memory()")
    assert kept
    assert count < 100  # of 32,768 pages of 4 KiB


@told
def test_without_it_a_step_takes_its_pages_again() -> None:
    assert faults("False")[1] > 10_000


HOLES = """
import re
from pathlib import Path
import torch
from scorefield.base.memory import give_back_memory


def own():
    (line,) = re.findall(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


torch.set_num_threads(1)
before, given = own(), {give}
torch.ones(3 * 2**20)  # 12 MiB: from now on glibc takes blocks of that size from a heap
some = [torch.ones(2**20) for _ in range(16)][1::2]  # of 4 MiB each, every other one let go
print(given, own() - before)
"""


@pytest.mark.skipif(LIBC != "glibc", reason="only glibc can be told")
@pytest.mark.parametrize(("give", "held"), [("give_back_memory()", 32), ("False", 64)])
def test_blocks_between_those_that_stay_are_given_back(give: str, held: int) -> None:
    """And the twin: a C library that was told nothing keeps all 64 MiB."""
    code = HOLES.format(give=give)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, mib = done.stdout.split()
    assert told == str(give != "False")
    assert float(mib) == pytest.approx(held, abs=4)
