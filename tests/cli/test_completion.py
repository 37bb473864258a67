"""What `scorefield completion bash` prints completes in a shell."""

import subprocess

import pytest

from tests.cli.test_flags import FLAGS

ASK = """{script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_scorefield; echo "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def completed(cli):
    code, script, err = cli("completion", "bash")
    assert (code, err) == (0, "")

    def ask(words: str) -> list[str]:
        text = ASK.format(script=script, words=words)
        done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
        assert not done.stderr
        return done.stdout.split()

    return ask


def test_commands_flags_and_names_are_completed(completed):
    assert completed("scorefield tr") == ["train", "train-classifier"]
    assert completed("scorefield sample runs/digits --gui") == ["--guidance", "--guide"]
    assert completed("scorefield restore runs/digits --operator bl") == ["blur"]
    assert completed("scorefield train swi") == ["swiss-roll"]
    assert completed("scorefield explain solver dpmpp2") == ["dpmpp2m", "dpmpp2s"]
    assert completed("scorefield sample runs/dig") == []  # files: the shell's own
    for command, flags in FLAGS.items():
        assert completed(f"scorefield {command} --") == flags.split()
