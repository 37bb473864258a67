"""How a command ends: in one line and an exit code, whatever comes and whenever."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import scorefield.report.overview
from scorefield.cli.ending import ended, stop_now, stoppable

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)


def start(*words: str, **keywords) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "scorefield", *words],
        stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **keywords,
    )  # fmt: skip


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_importing(signum):
    """At once, in one line: an exception inside an import is swallowed, or turned into another."""
    process = start("check", "solver", "heun", stdout=subprocess.PIPE)
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 60
    while "libtorch" not in maps.read_text():  # torch is being imported
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "stopped\n")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_work(cli, run, monkeypatch, signum):
    before = signal.getsignal(signum)
    kill = lambda *_, **more: os.kill(os.getpid(), signum)  # noqa: E731
    monkeypatch.setattr(scorefield.report.overview, "overview", kill)
    assert cli("report", run) == (130, "", "stopped\n")
    assert signal.getsignal(signum) == before
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_training_loads(cli, tmp_path, tiny, monkeypatch, signum):
    """Before the first step there is nothing to wait for, and nothing to keep."""
    load = scorefield.run.config.Config.load_data

    def loads(*given):
        os.kill(os.getpid(), signum)
        return load(*given)

    monkeypatch.setattr(scorefield.run.config.Config, "load_data", loads)
    code, out, err = cli("train", "digits", "--out", tmp_path / "run", *tiny)
    assert (code, out, err) == (130, "", "stopped\n")
    assert not list(tmp_path.iterdir())


def test_a_signal_while_writing_leaves_nothing_half_written(cli, run, monkeypatch):
    before = sorted(path.name for path in run.rglob("*"))
    sync = os.fsync

    def signalled(handle: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        sync(handle)

    monkeypatch.setattr(os, "fsync", signalled)
    code, out, err = cli("sample", run, "--n", 2, "--steps", 1)
    assert (code, out, err.splitlines()[-1]) == (130, "", "stopped")
    assert sorted(path.name for path in run.rglob("*")) == before


def test_a_handler_of_the_caller_stays_and_threads_have_none():
    came = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: came.append(signum))
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
    codes = []
    thread = threading.Thread(target=lambda: codes.append(scorefield.cli.main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]


def test_planted_an_exception_does_not_come_through_an_import(tmp_path, monkeypatch):
    """Why a signal there ends the process: what raises is swallowed by such a module."""
    (tmp_path / "swallows.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGTERM)\nexcept BaseException:\n"
        "    pass\nhere = True\n"
    )
    script = (
        "import signal, sys; sys.path.insert(0, {!r})\n"
        "from scorefield.cli.ending import ended, stoppable\n"
        "def raises(signum, frame): raise KeyboardInterrupt\n"
        "def command():\n    import swallows\n    return 0\n"
        "{}\n"
        "with stoppable(): sys.exit(ended(command))\n"
    )
    planted = "signal.signal(signal.SIGTERM, raises)"
    for line, code in ((planted, 0), ("", 130)):
        words = [sys.executable, "-c", script.format(str(tmp_path), line)]
        done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == code, done.stderr


def test_stdout_on_a_full_disk_and_a_pipe_that_is_closed():
    with open("/dev/full", "w") as full:
        process = start("--help", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith("error: the output cannot be written: No space left on device. ")
    assert err.count("\n") == 1
    read, write = os.pipe()
    os.close(read)
    process = start("--help", stdout=write)
    os.close(write)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def test_what_the_system_refuses_is_one_sentence(capfd):
    def refused() -> int:
        raise PermissionError(13, "Permission denied", "photos/1.png")

    assert ended(refused) == 2
    assert capfd.readouterr().err.startswith("error: photos/1.png: Permission denied. Check")


def test_the_handler_raises_outside_of_imports():
    with pytest.raises(KeyboardInterrupt):
        stop_now(signal.SIGINT, sys._getframe())


PLACES = [
    ("", "what follows --out is empty"),
    ("FILE/below/x", "lies below"),
    ("n" * 300, "File name too long"),
    ("n" * 245, "File name too long"),  # the file beside it has a longer one
    ("FULL/x", "No space left"),
    ("FOLDER", "is a folder"),
    ("PIPE", "is a device or a pipe"),
]
"""Where nothing can be written, without its suffix."""
WRITERS = {
    "sample RUN --n 2": ".png", "sample RUN --n 9 --batch 3": ".npz",
    "edit RUN --input THREE --n 2": ".png", "anagram RUN --n 2": ".png",
    "interpolate RUN --from THREE --to THREE": ".png", "encode RUN --input THREE": ".npz",
    "likelihood RUN --n 2": ".csv", "report RUN": ".html", "compare RUN --n 4": "",
    "restore RUN --operator pool:2 --input THREE": "", "train digits": "",
}  # fmt: skip


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders and files by the capital words; a disk on which nothing more fits."""
    from PIL import Image

    Image.new("L", (8, 8), 100).save(tmp_path / "three.png")
    (tmp_path / "full").mkdir()
    write = Path.write_bytes

    def fills(path: Path, content: bytes) -> int:
        if path.parent == tmp_path / "full":
            write(path, b"")
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fills)
    monkeypatch.chdir(tmp_path)
    return {"FILE": "three.png", "THREE": "three.png", "FULL": str(tmp_path / "full")}


@pytest.mark.parametrize("words", WRITERS)
def test_an_output_that_cannot_be_written_is_found_before_the_work(cli, trained, places, words):
    suffix = WRITERS[words]
    for place, says in PLACES:
        if (place in ("FOLDER", "PIPE") and not suffix) or (len(place) == 245 and not suffix):
            continue
        out = Path(f"{place}{suffix}") if place else ""
        if place == "FOLDER":
            Path(out).mkdir(exist_ok=True)
        elif place == "PIPE":
            os.mkfifo(out)
        text = str(out)
        for word, stands_for in (*places.items(), ("RUN", str(trained))):
            text = text.replace(word, stands_for)
        asked = [places.get(w, str(trained) if w == "RUN" else w) for w in words.split()]
        before = sorted(Path().rglob("*"))
        code, said, err = cli(*asked, "--out", text)
        assert (code, said) == (2, ""), (place, err)
        assert err.count("\n") == 1, err  # no bar: nothing was made
        assert says in err
        assert sorted(Path().rglob("*")) == before
