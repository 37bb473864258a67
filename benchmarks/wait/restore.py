"""Restorations of digits beside the network's calls and gradients alone, and large populations."""

import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from benchmarks.wait.ledger import ROOT, Row, build, in_turn, printed

STEPS = 100
HEAD = """
import resource, sys, time, torch
torch.set_num_threads(1)
from scorefield.catalogue.spec import build
from scorefield.draw import Asked, Plan
from scorefield.inverse import Renewed, restorer
from scorefield.run.config import build_levels
from scorefield.run.open import open_run
from scorefield.use.restore import restore_rows
try:
    from scorefield.base.memory import keep_freed_memory
except ImportError:
    from scorefield.train import keep_freed_memory
keep_freed_memory()
run, method, n, steps = open_run(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
model, shape = run.denoiser, tuple(run.info.shape)
a = build("operators", "box:2,2,4,4", shape=shape)
y = a(torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1))
levels = build_levels("vp-root", run.schedule, steps)
"""
RESTORED = """
def go():
    walker = Renewed() if method in ("dps", "pigdm") else None
    walker, guide = restorer(method, a, y, 0.05, n, solver=walker)
    return restore_rows(model, Plan(walker, levels, guide), Asked(torch.arange(n)), y)
"""
ALONE = """
def go():
    for k in range(steps):
        x = torch.randn(n, *shape)
        if method in ("ddrm", "diffpir", "replacement"):
            with torch.no_grad():
                model(x, levels.at(k))
        else:
            x.requires_grad_()
            torch.autograd.grad(model(x, levels.at(k)).sum(), x)
"""
SECONDS = """
go()
began = time.process_time()
go()
print(time.process_time() - began)
"""
MEGABYTES = """
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
go()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
PARTICLES = """
began = time.process_time()
go()
print((time.process_time() - began) / n / steps * 1e6)
"""


def rows(options: Namespace) -> Iterator[Row]:
    """Eight restorations in 100 calls by each method; a step of 256 to 65,536 particles."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        build(ROOT, "-m", "scorefield", "train", "digits", "--images", "256", "--out", run)

        def told(code: str, root: Path, *args: object) -> float:
            return printed(root, HEAD + code, run, *map(str, args))

        for method in ("dps", "pigdm", "diffpir", "ddrm", "replacement", "twisted"):
            args = (method, 8, STEPS)
            commands = {
                "now": lambda a=args: told(RESTORED + SECONDS, ROOT, *a),
                "network and gradients": lambda a=args: told(ALONE + SECONDS, ROOT, *a),
            }
            if options.before:
                commands["before"] = lambda a=args: told(RESTORED + SECONDS, options.before, *a)
            found = in_turn(commands, options.repeats, lambda command: command())
            yield Row(f"restore by {method}, 8 digits", "processor s", found, "network >= .91")
        for n in (256, 4096) if options.short else (256, 4096, 65536):
            for code, unit in ((PARTICLES, "us a particle and step"), (MEGABYTES, "MB beside")):
                commands = {"now": lambda n=n, c=code: told(RESTORED + c, ROOT, "twisted", n, 1)}
                if options.before and n < 65536:  # of which 4,096 take 2.3 GB there
                    commands["before"] = lambda n=n, c=code: told(
                        RESTORED + c, options.before, "twisted", n, 1
                    )
                found = in_turn(commands, 1 if n > 256 else options.repeats, lambda c: c())
                yield Row(f"a population of {n:,}", unit, found, "flat")
