"""Floor 6: the command line. Exit codes: 0 done, 2 the user can mend it, 1 a bug of ours.

Each command lives in a module of its own that is imported only when it is asked for, so that
`scorefield --help` answers at once.
"""

import atexit
import gc
import os
import sys
import warnings
from itertools import pairwise

from scorefield.cli.ending import ended, flagged, stoppable

COMMANDS = {
    "data": "get a data set of captioned pictures",
    "train": "train a model on data, with a recipe's settings",
    "plan": "what a training takes on other machines: memory, time, disk",
    "distill": "a student of a run, that needs one call of the network or a few",
    "sample": "make samples from a run, as a picture or arrays",
    "eval": "measure a run's samples against held-out data",
    "compare": "solvers side by side on a run: quality against calls, and strips; or runs",
    "tune": "the best plan of a run for a budget of network calls",
    "fit-grid": "fit levels and step lengths to a run, a solver and a count of steps",
    "density": "sample from a density known up to a constant, and find the constant",
    "edit": "edit a picture: variations, masked, or decoded as another class",
    "restore": "pictures from what was measured of them: hidden, blurred, projected",
    "anagram": "pictures that show one class or another as one looks at them",
    "train-classifier": "a classifier of a run's noisy samples, to guide samples to a class",
    "likelihood": "how likely held-out data are under a run, in bits a dimension",
    "encode": "examples to the noise that the model's flow makes them of, and back",
    "reconstruct": "what an autoencoder keeps: input, reconstruction, error",
    "interpolate": "a strip from one picture to another through their noise",
    "report": "a run as one page: samples, measures, curves, noise levels, settings",
    "import": "a run of another program's model, such as a folder of diffusers",
    "export": "a run for another program: diffusers, ONNX, torch",
    "push": "a run, with a model card, to a hub",
    "ema": "an average of a run's weights over any length, from its snapshots",
    "serve": "runs over HTTP, and a studio in the browser",
    "explain": "a method's equation, order, calls, options and paper",
    "check": "the laws of a solver, yours too: order, clean data, batches, pauses, seeds",
    "catalogue": "every solver, schedule, grid, weight, data set ... by name",
    "doctor": "versions, devices, threads, extras, and what lacks",
    "completion": "what completes commands, flags and names in a shell",
}

HELP = """scorefield: diffusion models, verified

usage: scorefield COMMAND [options]        scorefield COMMAND --help

commands:
{commands}

a first session:
  scorefield train digits                          real 8x8 digits, under a minute
  scorefield sample runs/digits --n 100 --labels 0-9 --out grid.png
  scorefield eval runs/digits
  scorefield report runs/digits                    one self-contained page

your own pictures (class = sub-folder):
  scorefield train folder --data.path photos --data.size 32 --out runs/photos
  scorefield train folder --data.path photos --data.size 32 --out runs/photos --resume

exit codes: 0 done, 2 a mistake that you can mend, 1 a bug of ours, 130 stopped by Ctrl-C
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    if argv is None:
        _spare_modules()
        argv = sys.argv[1:]
    # Threads that spin while they wait fight over the cores: measured 3x slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: nobody listens
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 as long as the process
    with stoppable():
        return ended(lambda: _run(argv))


def _spare_modules() -> None:
    """Look less often for cycles that nothing refers to, and not at all at the end: of half a
    million objects that torch's import makes none is one, and to look takes a third of its time."""
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        rows = (f"  {name:<17}{text}" for name, text in COMMANDS.items())
        print(HELP.format(commands="\n".join(rows)))
        return 0
    if argv[0] == "--version":
        import scorefield

        print(f"scorefield {scorefield.__version__}")
        return 0
    warnings.showwarning = _one_line
    if empty := next((at for at, word in pairwise(argv) if not word and at != "--prompt"), None):
        from scorefield.base.errors import BadInput

        raise BadInput(f"what follows {empty} is empty.", "Give it a value, or leave it out.")
    if argv[0] not in COMMANDS:
        from scorefield.base.errors import unknown

        raise unknown("command", argv[0], COMMANDS)
    from scorefield.cli.frame import run

    return run(argv[0], argv[1:])


def _one_line(message, category, filename, lineno, file=None, line=None) -> None:
    if issubclass(category, (UserWarning, RuntimeWarning)):
        from scorefield.cli.bar import above

        above(f"warning: {flagged(str(message))}")
