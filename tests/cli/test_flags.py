"""The frozen command line: every flag of every command, in the order of --help."""

import re

import pytest

from scorefield.cli import COMMANDS

FLAGS = {
    "train digits": """
        --help --json --out --resume --net --init --images --batch --lr --warmup --decay
        --weight-decay --clip --ema --ema-lengths --snapshot-every --precision --compile
        --checkpoint-every --checkpoint-minutes --log-every --trackers --seed
        --data.name --data.path --data.size --data.channels --data.flip --data.no-flip
        --objective.kind --objective.schedule --objective.cleanest --objective.view
        --objective.weight --objective.times --objective.dropout
        --sample.solver --sample.steps --sample.grid --sample.guidance
    """,
    "sample": """
        --help --json --average --steps --solver --grid --guidance --n --seeds --labels
        --conditions --unconditional --guide --out --columns --batch
    """,
    "eval": "--help --steps --solver --grid --guidance --json --average --n --seed",
    "compare": "--help --n --seeds --labels --json --solvers --steps --grid --guidance --out",
    "fit-grid": """
        --help --json --steps --solver --guidance --name --labels --unconditional --starts --rounds
        --seed
    """,
    "edit": """
        --help --json --steps --solver --grid --guidance --n --seeds --labels --input --strength
        --mask --conditions --encode --source --out
    """,
    "restore": """
        --help --json --steps --solver --grid --guidance --n --seeds --labels --operator --input
        --measured --noise --method --out
    """,
    "anagram": """
        --help --json --steps --solver --grid --guidance --n --seeds --labels --views --out
    """,
    "train-classifier": "--help --json --images --width --blocks --seed",
    "likelihood": """
        --help --json --average --data --against --n --method --trace --dequantise --draws
        --solver --steps --floor --guidance --unconditional --batch --out
    """,
    "encode": """
        --help --json --average --label --steps --solver --input --decode --out --batch
    """,
    "interpolate": """
        --help --json --average --label --steps --solver --from --to --attribute --strength
        --between --mode --out
    """,
    "report": "--help --json --out",
    "ema": "--help --json --length --images",
    "explain": "--help --json",
    "check": "--help --json",
    "catalogue": "--help --json",
    "completion": "--help",
}


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
