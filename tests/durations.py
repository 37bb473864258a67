"""Which tests `make check` leaves out: those that take long, by measure.

    python -m pytest -n 2 -p tests.durations

writes tests/slow.txt: each test whose processor time, over all of its parameters and with that of
its child processes, is above LONG seconds; conftest.py marks them slow. What does not run keeps its
line: run again with `-m "not slow"`, this adds tests that inherit what a slow one had set up.
"""

import os
from collections import defaultdict
from pathlib import Path

import pytest

LONG = 0.1
LISTED = Path(__file__).parent / "slow.txt"
_spent: defaultdict[str, float] = defaultdict(float)
_began = pytest.StashKey[float]()


def _processor() -> float:
    return sum(os.times()[:4])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_began] = _processor()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> None:
    if call.when == "teardown":
        item.user_properties.append(("seconds", _processor() - item.stash[_began]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    seconds = dict(report.user_properties).get("seconds", 0.0)
    _spent[report.nodeid.partition("[")[0]] += float(str(seconds))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        kept = set(LISTED.read_text().split()) - _spent.keys()
        slow = kept | {name for name, seconds in _spent.items() if seconds > LONG}
        LISTED.write_text("".join(f"{name}\n" for name in sorted(slow)))
