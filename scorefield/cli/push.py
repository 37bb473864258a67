"""`scorefield push RUN hub:NAME`."""

from typing import Annotated

import tyro

from scorefield.cli.flags import OnRun, Switch
from scorefield.cli.frame import Bar, Found


class Options(OnRun):
    """Send a run to a hub by huggingface_hub: its settings, averaged weights, figures and a model
    card, which is written into the run folder too. The optimiser, log and snapshots stay.

    examples:
      scorefield push runs/digits hub:me/digits
      scorefield push runs/digits hub:me/digits --licence apache-2.0 --public
      scorefield import hub:me/digits --out runs/again
    """

    target: Annotated[str, tyro.conf.Positional]
    """hub:OWNER/NAME."""
    licence: str = "other"
    """Of the weights, as the hub names it: apache-2.0, cc-by-4.0, ..."""
    public: Switch = False
    """For all to see (default: private)."""


def work(o: Options, bar: Bar) -> Found:
    from scorefield.interop.hub import push

    return push(o.request(bar).opened, o.target, o.licence, private=not o.public)
