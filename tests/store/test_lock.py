"""A run folder is held by one training at a time, and by none that is gone."""

import os
import subprocess
import sys
import threading
import time

import pytest

from scorefield.base import BadInput
from scorefield.store import Folder, alone

NAME = ".lock"

HOLD = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
"""Another process, which holds the file until it is killed."""


@pytest.fixture
def other(tmp_path):
    (tmp_path / "run").mkdir()
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run" / NAME)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_that_is_held_is_refused_until_its_holder_is_killed(other, tmp_path):
    run = Folder(tmp_path / "run")
    with pytest.raises(BadInput, match="another job is at work in .*run"), run.alone():
        pass
    assert (run.path / NAME).exists()
    other.kill()
    other.communicate()
    assert (run.path / NAME).exists()  # what a kill leaves blocks nobody
    with run.alone():
        pass
    assert not list(run.path.iterdir())


def test_two_in_one_process_exclude_each_other_too(tmp_path):
    run = Folder(tmp_path / "run")
    with run.alone(), pytest.raises(BadInput, match="another job"), run.alone():
        pass
    assert not run.path.exists()


def test_what_was_made_and_stayed_empty_goes(tmp_path):
    run = Folder(tmp_path / "new" / "run")
    with run.alone():
        assert run.path.is_dir()
    assert not list(tmp_path.iterdir())
    with run.alone():
        (run.path / "config.json").write_text("{}")
    assert [path.name for path in run.path.iterdir()] == ["config.json"]


def test_a_file_that_its_last_holder_removed_is_not_held(tmp_path, monkeypatch):
    """Between the opening and the locking: two processes would hold two files of one name."""
    import fcntl

    run, lock = Folder(tmp_path / "run"), fcntl.flock
    tries = []

    def late(handle: int, how: int) -> None:
        tries.append(handle)
        if len(tries) == 1:
            (run.path / NAME).unlink()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with run.alone():
        assert len(tries) == 2
        assert os.path.samestat(os.fstat(tries[-1]), os.stat(run.path / NAME))


def test_who_waits_goes_on_when_the_other_ends(tmp_path):
    entered, went = threading.Event(), []

    def second() -> None:
        entered.wait()
        with alone(tmp_path, "judge", wait=True):
            went.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with alone(tmp_path, "judge"), alone(tmp_path, "classifier"):  # which does not hold that
        entered.set()
        time.sleep(0.2)
        went.append("first")
    thread.join()
    assert went == ["first", "second"]
    assert not list(tmp_path.iterdir())
