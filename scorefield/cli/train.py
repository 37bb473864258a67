"""`scorefield train RECIPE`."""

import time
from typing import TYPE_CHECKING

from scorefield.base.errors import BadInput, Elsewhere
from scorefield.cli.bar import Bar
from scorefield.cli.ending import STOPPED, patient
from scorefield.cli.frame import note, say, verb

if TYPE_CHECKING:
    from scorefield.cli.settings import Options
    from scorefield.train import Progress


def main(argv: list[str]) -> int:
    from scorefield.cli.settings import Options, of_flag, starting, usage

    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    name, flags, options = starting(argv)
    try:
        return verb(f"train {name}", Options, work, options)(flags)
    except Elsewhere:
        return 2
    except BadInput as error:
        raise of_flag(error) from error


def work(o: "Options", bar: Bar) -> int:
    from scorefield.cli.session import shown
    from scorefield.report.stages import Stages
    from scorefield.run.train import fit
    from scorefield.store import Folder
    from scorefield.train import processes

    stages, steps = Stages(o.config, o.out), 0

    def watch(step: "Progress") -> None:
        nonlocal steps
        steps += 1
        shown(bar, step)
        if problem := stages(step):
            note(problem)

    began = time.monotonic()
    with patient() as stop:
        fit(o.config, o.out, resume=o.resume, watch=watch, stop=stop, say=note)
    seconds, seen = time.monotonic() - began, Folder(o.out).images_seen()
    stopped = stop() and seen < o.config.training.images
    if stopped:
        text = f"{o.out}: stopped at {seen:,} images. Go on with --resume."
    elif steps:
        text = f"{o.out}: {seen:,} images in {seconds:.0f} s. Pictures: {o.out / 'samples'}"
    else:
        text = f"{o.out} has its {seen:,} images already. Give more --images to go on."
    bar.close()
    if processes().is_main_process:
        record = {"run": str(o.out), "images": seen, "seconds": round(seconds, 2)}
        say(record, f"{text}\nnext: scorefield sample {o.out}", o.json)
    return STOPPED if stopped else 0
