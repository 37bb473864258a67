"""`scorefield doctor`: what is asked for is read from the package's own metadata."""

import importlib.metadata
import json

import pytest

from scorefield import __version__
from scorefield.use import doctor


@pytest.fixture
def asked(monkeypatch):
    """Set what the package asks for."""
    return lambda *lines: monkeypatch.setattr(doctor, "requires", lambda name: list(lines))


def test_a_whole_installation_is_sound(cli, asked):
    asked("torch>=2", 'pytest>=1; extra == "dev"', 'scorefield[dev]; extra == "all"')
    code, out, _ = cli("doctor", "--json")
    found = json.loads(out)
    assert (code, found["sound"], found["lacking"]) == (0, True, [])
    assert found["version"] == __version__ == importlib.metadata.version("scorefield")
    where, packages = (item["rows"] for item in found["items"])
    assert packages[0] == ["torch", importlib.metadata.version("torch"), ">=2", "core", ""]
    assert [row[0] for row in packages] == ["torch", "pytest"]
    assert "device" in dict(where)


def test_what_an_extra_lacks_is_named_with_the_line_that_installs_it(cli, asked):
    asked("torch>=2", 'no-such-thing>=3; extra == "serve"', 'torch>=99; extra == "data"')
    code, out, err = cli("doctor")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["no-such-thing", ">=3", "serve", "lacks"] in rows
    assert [importlib.metadata.version("torch"), ">=99", "data", "another", "version"] in [
        row[1:] for row in rows
    ]
    assert "pip install 'scorefield[data,serve]'" in err


def test_what_every_verb_needs_and_lacks_is_a_fault(cli, asked):
    asked("torch>=99")
    said = cli("doctor")
    assert said.code == 2
    assert said.err.strip() == "to mend it: pip install -U scorefield"


def test_what_the_environment_says_is_shown(cli, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    rows = json.loads(cli("doctor", "--json").out)["items"][0]["rows"]
    assert ["OMP_NUM_THREADS", "7"] in rows
