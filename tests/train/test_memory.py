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
