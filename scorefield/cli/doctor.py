"""`scorefield doctor`."""

import os

from scorefield.cli.flags import Spoken
from scorefield.cli.frame import Bar, note, show


class Options(Spoken):
    """What this installation has: versions, devices, threads, the packages of every extra, and what
    lacks, with the line that installs it. Exit code 2 if a package that every verb needs lacks.

    examples:
      scorefield doctor
      scorefield doctor --json
    """


def work(o: Options, bar: Bar) -> int:
    from scorefield.use.doctor import examine

    found = examine(os.environ)
    show(found, o.json)
    if found.next and not o.json:
        note(found.next)
    return 0 if found.record["sound"] else 2
