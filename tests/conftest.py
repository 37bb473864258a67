"""One thread a test process: with several processes, two OpenMP teams fight over the cores. And
Ctrl-C as a terminal has it: a shell gives its background jobs one that they must ignore."""

import signal

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.report import chromium

torch.set_num_threads(1)
settings.register_profile("shared", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("shared")  # on a busy machine the clock says nothing of a strategy
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW = {"interop", "serve", "density", "latent"}
"""Folders of tests that import peers, start servers or learn."""


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name in SLOW:
            item.add_marker("slow")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = chromium.find()
    if program is None:
        pytest.skip("no Chromium found: put one on the path, or name it in $SCOREFIELD_BROWSER")
    with chromium.started(program, tmp_path_factory.mktemp("profile")) as running:
        yield running
