"""One thread a test process: with several processes, two OpenMP teams fight over the cores. And
Ctrl-C as a terminal has it: a shell gives its background jobs one that they must ignore."""

import re
import signal

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.durations import LISTED
from tests.report import chromium

torch.set_num_threads(1)
settings.register_profile("shared", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("shared")  # on a busy machine the clock says nothing of a strategy
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW = frozenset(LISTED.read_text().split())
"""What `python -m pytest -p tests.durations` found to take long, and `make check` leaves out."""


def pytest_ignore_collect(collection_path, config):
    """Nor is a file opened that holds nothing else, or says so: some import peers, for seconds."""
    if config.option.markexpr != "not slow" or not collection_path.match("test_*.py"):
        return None
    here, text = str(collection_path.relative_to(config.rootpath)), collection_path.read_text()
    tests = re.findall(r"^ *def (test_\w+)", text, re.MULTILINE)
    slow = {name.rpartition("::")[2] for name in SLOW if name.startswith(f"{here}::")}
    return True if set(tests) <= slow or "\npytestmark = pytest.mark.slow" in text else None


def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.partition("[")[0] in SLOW:
            item.add_marker("slow")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = chromium.find()
    if program is None:
        pytest.skip("no Chromium found: put one on the path, or name it in $SCOREFIELD_BROWSER")
    with chromium.started(program, tmp_path_factory.mktemp("profile")) as running:
        yield running
