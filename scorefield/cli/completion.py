"""`scorefield completion bash`."""

import re
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Annotated, Literal

import tyro

from scorefield.cli.flags import Flags
from scorefield.cli.frame import Bar, run

SCRIPT = """_scorefield() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} last=${{COMP_WORDS[COMP_CWORD-1]}} words=
  if [ "$COMP_CWORD" = 1 ]; then words="{commands}"
  elif [[ "$word" == -* ]]; then case "${{COMP_WORDS[1]}}" in
{flags}
  esac; else case "$last" in
{names}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _scorefield scorefield"""


class Options(Flags):
    """Print what completes commands, flags and names in a shell; where it knows nothing, the shell
    completes files. Put it in a file and source that in ~/.bashrc.

    example:
      scorefield completion bash > ~/.scorefield.bash
    """

    shell: Annotated[Literal["bash"], tyro.conf.Positional]
    """bash."""


def flags_of(command: str) -> str:
    """The flags of a command, as its help lists them."""
    words = ["digits", "--help"] if command == "train" else ["--help"]
    with redirect_stdout(said := StringIO()), suppress(SystemExit):
        run(command, words)
    heads = re.findall(
        r"^[│ ] ((?:-h, )?--\w[\w.-]*(?:, --[\w.-]+)*)", said.getvalue(), re.MULTILINE
    )
    return " ".join(word for head in heads for word in re.findall(r"--\w[\w.-]*", head))


def work(o: Options, bar: Bar) -> int:
    from scorefield.catalogue.signatures import names
    from scorefield.catalogue.spec import KINDS
    from scorefield.cli import COMMANDS
    from scorefield.run.recipes import recipes

    known = {f"--{one}|{one}": names(kind) for kind, one in KINDS.items()}
    cases = {"train": recipes, "--solvers": names("solvers"), **known, "catalogue": KINDS}
    rows = [f"    {of}) words='{' '.join(entries)}';;" for of, entries in cases.items()]
    flags = [f"    {name}) words='{flags_of(name)}';;" for name in COMMANDS]
    print(SCRIPT.format(commands=" ".join(COMMANDS), flags="\n".join(flags), names="\n".join(rows)))
    return 0
