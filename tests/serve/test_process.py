"""The command itself: what the docs say of it, and what a kill leaves."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import torch

from scorefield.run.open import open_run
from scorefield.use.generate import generate
from tests.serve import runs

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def serving(*words: object) -> Iterator[tuple[int, subprocess.Popen]]:
    port = free_port()
    command = [sys.executable, "-m", "scorefield", "serve", *map(str, words), "--port", str(port)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=env)
    try:
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield port, process
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "too slow"
        time.sleep(0.05)


EXAMPLES = re.findall(r"^curl .*$", (ROOT / "docs/service.md").read_text(), re.MULTILINE)


def test_the_examples_run_and_a_killed_server_goes_on(tmp_path):
    """kill -9 in the middle: what was finished is there, what was under way ends, to the bit."""
    run, folder = runs.digits(tmp_path / "digits"), tmp_path / "kept"
    said = {"label": 3, "steps": 400, "solver": "ddim", "format": "x", "guidance": 2.0}
    wait = {"prefer": "respond-async"}
    with serving(run, "--folder", folder) as (port, process):
        assert len(EXAMPLES) > 4
        for example in EXAMPLES:
            words = shlex.split(example.replace("localhost:8000", f"127.0.0.1:{port}"))
            told = subprocess.run(words, capture_output=True, text=True, timeout=60)
            assert told.returncode == 0
            assert '"id"' in told.stdout or told.stdout == "[]", told.stdout[:300]
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        done = client.post("/v1/samples", json={"n": 1, "format": "x"}).json()
        begun = [client.post("/v1/samples", json={**said, "seed": s, "n": 8}, headers=wait).json()
                 for s in (1, 9)]  # fmt: skip
        numbers = [one["id"] for one in begun]
        until(lambda: list(folder.glob("*.state.safetensors")) != [])
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serving(run, "--folder", folder) as (port, _):
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        assert client.get(f"/v1/requests/{done['id']}").json() == done
        for number, seed in zip(numbers, (1, 9)):
            until(lambda number=number: client.get(f"/v1/requests/{number}").status_code == 200)
            answer = client.get(f"/v1/requests/{number}").json()
            opened = open_run(run)
            x0 = generate(opened.denoiser, seeds=range(seed, seed + 8), labels=[3], steps=400,
                          solver="ddim", guidance=2.0)  # fmt: skip
            found = torch.tensor([sample["x"] for sample in answer["samples"]])
            far = (found - opened.info.scaling.decode(x0)).abs().max()
            assert far < 1e-3 * opened.info.scaling.scale[0]  # of other buckets on some machines
        assert not list(folder.glob("*.request.json"))


def test_it_stops_when_it_is_told_and_answers_what_is_nearly_done(tmp_path):
    with serving(runs.digits(tmp_path / "digits")) as (port, process):
        url = f"http://127.0.0.1:{port}/v1/samples/events"
        with httpx.stream("POST", url, json={"n": 2, "steps": 100}, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            process.terminate()
            assert any(line == "event: done" for line in lines)
        assert process.wait(30) in (0, 130)


@pytest.mark.parametrize(
    "words, says",
    [
        (["RUN", "--host", "0.0.0.0"], "SCOREFIELD_TOKEN"),
        (["RUN", "RUN"], "have one name"),
        ([], "names no run"),
        (["nowhere"], "does not exist"),
        (["RUN", "--folder", "RUN/config.json"], "config.json"),
        (["RUN", "--replicas", "2"], "engine uvicorn is one process"),
        (["RUN", "--engine", "ray", "--replicas", "0"], "--replicas is 0"),
        (["RUN", "--engine", "ray"], "pip install 'scorefield[ray]'"),
    ],
)
def test_what_cannot_be_served(words, says, tmp_path, capfd, monkeypatch):
    from scorefield.cli import main

    monkeypatch.delenv("SCOREFIELD_TOKEN", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "scorefield.serve.replicas", raising=False)
    run = str(runs.digits(tmp_path / "digits"))
    assert main(["serve", *(word.replace("RUN", run) for word in words)]) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert says in error
    assert error.startswith("error: ")


def test_a_check_says_what_would_be_served(tmp_path, capfd):
    from scorefield.cli import main

    assert main(["serve", str(runs.digits(tmp_path / "digits")), "--check", "--json"]) == 0
    (table,) = json.loads(capfd.readouterr().out)["items"]
    assert table["rows"][0][:3] == ["digits", "1x8x8", 10]


def test_the_container_is_made_of_what_there_is(tmp_path, capfd, monkeypatch):
    """What it copies, the extras that it and the page name, and the command that it begins."""
    from scorefield.cli import main

    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    said = [line.split(None, 1) for line in lines if line and line[0] not in "# "]
    orders = [(kind, words) for kind, words in said]
    copied = [name for kind, words in orders if kind == "COPY" for name in words.split()[:-1]]
    let_in = (ROOT / ".dockerignore").read_text()
    assert all((ROOT / name).exists() and f"!{name}\n" in let_in for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {project["readme"], "pyproject.toml", "constraints.txt", project["license-files"][0]}
    assert needed <= {*copied}
    page = (ROOT / "docs/howto/deploy.md").read_text()
    extras = re.findall(r"EXTRAS=(\w+)", "\n".join(lines) + page)
    assert {*extras} == {"serve", "ray"} <= {*project["optional-dependencies"]}
    (begun,) = (json.loads(words) for kind, words in orders if kind == "ENTRYPOINT")
    (health,) = (words for kind, words in orders if kind == "HEALTHCHECK")
    assert f"127.0.0.1:{begun[begun.index('--port') + 1]}/health" in health
    run = str(runs.digits(tmp_path / "digits"))
    words = [str(tmp_path) if word == "/kept" else word for word in begun[1:]]
    assert main([*words, run, "--check"]) == 0
    monkeypatch.delenv("SCOREFIELD_TOKEN", raising=False)
    assert main([*words, run]) == 2
    assert "SCOREFIELD_TOKEN" in capfd.readouterr().err
