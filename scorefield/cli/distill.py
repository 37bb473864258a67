"""`scorefield distill RUN`."""

from pathlib import Path
from typing import Annotated

import tyro

from scorefield.base.errors import BadInput
from scorefield.cli.flags import GuidanceScale, MethodName, OnRun, OutPath, Switch
from scorefield.cli.frame import Bar, verb
from scorefield.train.settings import Training


class Options(OnRun):
    """Distill a run into a student that needs one call of the network or a few, with guidance in
    it. The student is a run folder like any other, by default RUN-METHOD. It begins with its
    teacher's weights and is trained on as many images, unless it is said. Ctrl-C stops after the
    current step with a checkpoint; --resume goes on, also after a crash.

    examples:
      scorefield distill runs/digits
      scorefield sample runs/digits-consistency --labels 0-9
      scorefield distill runs/digits --method meanflow --guidance 2 --images 50000 --out runs/quick
      scorefield distill runs/digits --method progressive:first=16,last=2
      scorefield compare runs/digits runs/digits-consistency runs/quick --solvers arc

    The methods, and what the student then knows (scorefield explain student NAME):
    consistency (of a teacher), consistency-training (of data alone), trigflow: the end of the flow
    from every level, in any number of steps; meanflow, shortcut: the way between any two levels,
    and the flow itself, for every verb; knowledge, operator: one step from noise; reflow:calls=N,
    progressive:last=N, dmd:calls=N, denoising-gan:calls=N: N steps from noise; genie: its teacher
    in steps of second order, any number; learned-sampler:calls=N: the teacher with N steps of its
    own, which a few thousand images teach (--images 8000 --lr .01).

    --guidance is the largest scale that is distilled in, by default that of the run. Samples of the
    student may then ask for any from 1 to there, at one call a step.
    """

    method: MethodName = "consistency"
    guidance: GuidanceScale = None
    training: Annotated[Training, tyro.conf.arg(name="")] = Training()
    out: OutPath = None
    resume: Switch = False
    """Go on from the run folder's last checkpoint."""


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        return verb("distill", argv, Options, work)
    if argv[0].startswith("-"):
        fact = f"the run comes first, before {argv[0]}."
        raise BadInput(fact, "Try: scorefield distill runs/digits.")
    from scorefield.cli.training import in_words_of_flags
    from scorefield.run.student import training_of

    run = Path(argv[0])
    default = Options(run=run, training=training_of(run))
    return in_words_of_flags(lambda: verb("distill", argv, Options, work, default))


def work(o: Options, bar: Bar) -> int:
    from scorefield.cli.training import trained
    from scorefield.run.student import student

    method = o.method.partition(":")[0].strip()
    out = o.out or o.run.with_name(f"{o.run.resolve().name}-{method}")
    config = student(o.run, o.method, o.guidance, o.training)
    return trained(config, out, o.resume, bar, o.json)
