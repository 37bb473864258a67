"""`scorefield train RECIPE`."""

from typing import TYPE_CHECKING

from scorefield.cli.bar import Bar
from scorefield.cli.frame import verb

if TYPE_CHECKING:
    from scorefield.cli.settings import Options


def main(argv: list[str]) -> int:
    from scorefield.cli.settings import Options, starting, usage

    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    from scorefield.cli.training import in_words_of_flags

    name, flags, options = starting(argv)
    return in_words_of_flags(lambda: verb(f"train {name}", flags, Options, work, options))


def work(o: "Options", bar: Bar) -> int:
    from scorefield.cli.training import trained

    return trained(o.config, o.out, o.resume, bar, o.json)
