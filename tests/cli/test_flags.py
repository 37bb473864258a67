"""The frozen command line: every flag of every command, in the order of --help."""

import re
from pathlib import Path

import pytest

from scorefield.cli import COMMANDS

ROWS = Path(__file__).with_name("flags.txt").read_text().replace("\n    ", " ").splitlines()[1:]
FLAGS: dict[str, str] = dict(row.split(" => ") for row in ROWS)


def listed(help_text: str) -> list[str]:
    heads = re.findall(r"^│ ((?:-h, )?--[\w.-]+(?:, --[\w.-]+)*)", help_text, re.MULTILINE)
    return [flag for head in heads for flag in re.findall(r"--[\w.-]+", head)]


@pytest.mark.parametrize("command", FLAGS)
def test_no_flag_comes_or_goes_unseen(cli, command):
    code, out, err = cli(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert listed(out) == FLAGS[command].split()


def test_every_command_is_held():
    assert {command.split()[0] for command in FLAGS} == set(COMMANDS)


@pytest.mark.parametrize("command", FLAGS)
def test_every_command_shows_a_worked_example(cli, command):
    name = command.split()[0]
    out = cli(*command.split(), "--help").out
    assert re.search(r"examples?:\s+scorefield " + name, re.sub(r"[│\n]", " ", out)), out


def test_help_lists_the_commands_and_recipes(cli):
    from scorefield.run.recipes import recipes

    for words in ([], ["--help"], ["-h"], ["help"]):
        code, out, _ = cli(*words)
        assert code == 0
        assert all(f"  {name} " in out for name in COMMANDS)
        assert "scorefield train digits" in out
    for words in (["train"], ["train", "--help"]):
        code, out, _ = cli(*words)
        assert code == 0
        assert all(f"  {name} " in out for name in recipes)
        assert "examples:" in out


def test_version(cli):
    import scorefield

    assert cli("--version") == (0, f"scorefield {scorefield.__version__}\n", "")
