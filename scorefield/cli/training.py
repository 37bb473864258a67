"""What the verbs that train share: a training is watched, and what came of it is said."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scorefield.base.errors import BadInput, Elsewhere
from scorefield.cli.bar import Bar
from scorefield.cli.ending import STOPPED, flagged, patient
from scorefield.cli.frame import note, say
from scorefield.cli.settings import of_flag

if TYPE_CHECKING:
    from scorefield.run.settings import Config
    from scorefield.train import Progress


def in_words_of_flags(call: Callable[[], int]) -> int:
    """The exit code of a call, whose errors name flags; 2 where another process tells of one."""
    try:
        return call()
    except Elsewhere:
        return 2
    except BadInput as error:
        raise of_flag(error) from error


def trained(config: "Config", out: Path, resume: bool, bar: Bar, as_json: bool) -> int:
    """Train in a folder, or go on there, and say what came of it; the exit code."""
    from scorefield.cli.session import shown
    from scorefield.report.stages import Stages
    from scorefield.run.autoencoder import learns_codes
    from scorefield.run.pairs import is_led
    from scorefield.run.stored import stored_settings
    from scorefield.run.train import fit_run
    from scorefield.store import Folder
    from scorefield.train import processes

    stages, steps = Stages(config, out), 0

    def watch(step: "Progress") -> None:
        nonlocal steps
        steps += 1
        shown(bar, step)
        if problem := stages(step):
            note(problem)

    began = time.monotonic()
    with patient() as stop:

        def tell(line: str) -> None:
            note(flagged(line))

        fit_run(config, out, resume=resume, watch=watch, stop=stop, say=tell)
    seconds, seen = time.monotonic() - began, Folder(out).images_seen()
    stopped = stop() and seen < config.training.images
    if stopped:
        text = f"{out}: stopped at {seen:,} images. Go on with --resume."
    elif steps:
        text = f"{out}: {seen:,} images in {seconds:.0f} s. Pictures: {out / 'samples'}"
    else:
        text = f"{out} has its {seen:,} images already. Give more --images to go on."
    bar.close()
    then = "reconstruct" if learns_codes(config) else "sample"
    then = "restore" if is_led(config, stored_settings(Folder(out))[1]) else then
    if processes().is_main_process:
        record = {"run": str(out), "images": seen, "seconds": round(seconds, 2)}
        say(record, f"{text}\nnext: scorefield {then} {out}", as_json)
    return STOPPED if stopped else 0
