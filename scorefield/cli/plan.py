"""`scorefield plan RECIPE`."""

from typing import Annotated

import tyro

from scorefield.cli.flags import Spoken
from scorefield.cli.frame import Bar, Found, verb
from scorefield.run.settings import Config


class Options(Spoken):
    """What a training will take on other machines, before it is begun: memory, arithmetic, time,
    disk. The recipe's settings are changed by the flags of `scorefield train`.

    examples:
      scorefield plan digits --devices 8 --device h100
      scorefield plan digits --net dit:size=xl,patch=2 --shape 4 32 32 --classes 1000
          --batch 256 --images 100000000 --precision bf16 --devices 8
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    devices: int = 1
    """How many, of one kind."""
    device: str = "h100"
    """Which: a100, h100, h200, l4 or rtx4090."""
    peak: float | None = None
    """TFLOP/s that a device reaches, if that was measured (None: .35 of what its maker states)."""
    shape: tuple[int, ...] = ()
    """Of an example, such as 3 64 64, where the data are not at hand."""
    classes: int = 0
    """Of the data, with a shape."""


def main(argv: list[str]) -> int:
    from scorefield.cli.settings import starting

    if not argv or argv[0] in ("-h", "--help"):
        return verb("plan", ["--help"], Options, work, Options(config=Config()))
    from scorefield.cli.training import in_words_of_flags

    name, flags, begun = starting(argv)
    default = Options(config=begun.config)
    return in_words_of_flags(lambda: verb(f"plan {name}", flags, Options, work, default))


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.foresee import foreseen, info_foreseen

    info = info_foreseen(o.config, o.shape, o.classes)
    return foreseen(o.config, info, o.devices, o.device, o.peak)
