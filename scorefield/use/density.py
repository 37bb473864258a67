"""A density known up to a constant, sampled and integrated, as findings."""

import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Watch, quiet
from scorefield.base.finding import Figure, Findings, Line, Series
from scorefield.catalogue.spec import build, canonical
from scorefield.density import FittedDensity, Target
from scorefield.density.figures import bounds, estimates, missed, mode_figures
from scorefield.density.fit import fit_density
from scorefield.measure.apart import energy_distance, sliced_w2
from scorefield.store import Folder, claim, claim_folder, exists, write_npz
from scorefield.use.asked import at_least, count
from scorefield.use.plane import Plane

SHOWN, REACH, BARS = 6000, 1.15, 60
"""Points of a picture, what is drawn in half widths of the samples, and bars of a histogram."""


@dataclass(frozen=True)
class DensityAsked:
    """What is asked: a `target` (a name with options, FILE.py:FUNCTION, or the folder of an earlier
    fit), and how and how long to fit a path to it."""

    target: str
    method: str = "dds"
    steps: str | None = "64"
    seconds: float = 180.0
    seed: int = 0
    n: int | None = None
    dim: int | None = None
    scale: float | None = None
    out: Path | None = None
    watch: Watch = quiet
    say: Callable[[str], object] = str

    def __post_init__(self) -> None:
        at_least("n", self.n)
        at_least("dim", self.dim)


def density(asked: DensityAsked) -> tuple[Findings, Plane | None]:
    """Fit and measure, or draw from the folder of an earlier fit; findings and, from two
    coordinates on, what a picture shows of the first two."""
    if exists(Path(asked.target) / "config.json"):
        return drawn_again(asked), None
    settings = {
        "target": asked.target, "dim": asked.dim, "scale": asked.scale,
        "method": canonical("paths", asked.method), "steps": count(asked.steps) or 64,
        "seconds": asked.seconds, "seed": asked.seed, "n": asked.n or 10_000,
    }  # fmt: skip
    target = target_of(asked, asked.say)
    out = asked.out
    folder = None if out is None or out.suffix in (".npz", ".png") else out
    if folder is not None:
        claim_folder(folder, "config.json", "density.json")
        keep_settings(folder, settings)
    elif out is not None:
        claim(out)
    fitted = fitted_by(settings, target, folder, asked.watch)
    return findings(fitted, settings, out), first_two(fitted)


def fitted_by(
    settings: dict[str, Any], target: Target, out: Path | None, watch: Watch
) -> FittedDensity:
    """By the settings of a fit, which a folder keeps."""
    method = build("paths", settings["method"])
    rest = {key: settings[key] for key in ("steps", "seconds", "seed", "n")}
    return fit_density(target, method, **rest, folder=out, watch=watch)


def keep_settings(out: Path, settings: dict[str, Any]) -> None:
    """Keep the settings of a fit in its folder; another's is refused."""
    folder, content = Folder(out), {"config": {"density": settings}, "data": settings["target"]}
    if folder.has_config and folder.config() != content:
        raise BadInput(f"{out} holds something else.", "Give another `out`.", "out")
    folder.keep_config(content)


def drawn_again(asked: DensityAsked) -> Findings:
    """More samples of an earlier fit: the same paths for the same seeds."""
    folder = Path(asked.target)
    config = Folder(folder).config().get("config")
    settings = config.get("density") if isinstance(config, dict) else None
    if settings is None:
        raise BadInput(f"{folder} is no folder of a fitted density.", "Give one, or a target.")
    out = asked.out or folder / "samples.npz"
    if out.suffix != ".npz":
        raise BadInput(f"`out` {out} is no .npz.", "Samples of a density are arrays.", "out")
    claim(out)
    of = replace(asked, target=settings["target"], dim=settings["dim"], scale=settings["scale"])
    fitted = fitted_by(settings, target_of(of, asked.say), folder, asked.watch)
    n = asked.n or settings["n"]
    drawn = fitted.draw(range(asked.seed, asked.seed + n))
    write_npz({"x": drawn.x, "log_weight": drawn.log_weight}, out)
    how = f"{len(drawn.x):,} samples with their log weights: {out}"
    return Findings("density", str(folder), how, (), {"out": str(out), "n": len(drawn.x)})


def target_of(asked: DensityAsked, say: Callable[[str], object]) -> Target:
    """The target that a name, with options, or a user's file means."""
    file, colon, function = asked.target.partition(".py:")
    if not colon:
        if asked.dim is not None or asked.scale is not None:
            raise BadInput(
                "`dim` and `scale` are for a log_prob of yours.",
                f"Write {asked.target}:dim=3.",
                "dim",
            )
        return build("targets", asked.target)
    path = Path(f"{file}.py")
    if not exists(path):
        raise BadInput(f"there is no file {path}.", "Give FILE.py:FUNCTION.")
    say(f"importing {path}, which is your own program")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        made = getattr(module, function)
    except Exception as error:
        raise BadInput(f"{path} gives no {function}: {error!r}.", "Mend it.") from error
    if isinstance(made, Target):
        return made
    if asked.dim is None:
        raise BadInput(f"{function} does not say of how many numbers it is.", "Give `dim`.", "dim")
    return Target(made, asked.dim, scale=asked.scale, name=function)


def findings(fitted: FittedDensity, settings: dict[str, Any], out: Path | None) -> Findings:
    """Bounds, log Z, weights, modes and distances, beside what is known and what a population
    found."""
    found, target = fitted.found, fitted.target
    said = [*fitted.said, *missed(fitted)]
    for line in said:
        warnings.warn(line, stacklevel=2)
    x = fitted.samples
    items = (*bounds(fitted), *distances(fitted, x), estimates(fitted), *pictured(fitted, x))
    how = (
        f"{canonical('paths', settings['method'])}, {settings['steps']} steps, "
        f"{fitted.seconds:.0f} s, {fitted.calls:,} calls of log_prob"
    )
    record = {
        **settings, "calls": fitted.calls, "trained": len(fitted.losses), "warnings": said,
        "elapsed": fitted.seconds, "out": None if out is None else str(out),
        "stderr": found.stderr if math.isfinite(found.stderr) else None,
    }  # fmt: skip
    arrays = {"x": fitted.drawn.x, "log_weight": fitted.drawn.log_weight}
    more = "" if out is None or out.suffix else f"more: scorefield density {out} `n` 10000"
    return Findings("density", target.name, how, items, record, arrays, next=more)


def distances(fitted: FittedDensity, x: Tensor) -> Iterator[Figure]:
    """From exact samples, with what others of them are at; and the fractions of modes."""
    target = fitted.target
    if target.draw is not None:
        rng = torch.Generator().manual_seed(fitted.seed + 7)
        exact, other = target.exact(len(x), rng), target.exact(len(x), rng)
        for name, measure in (("sliced W2", sliced_w2), ("energy distance", energy_distance)):
            yield Figure(name, measure(x, exact), None, measure(other, exact), best="real")
    if target.modes is not None:
        yield from mode_figures(target.modes, x)


def pictured(fitted: FittedDensity, x: Tensor) -> Iterator[Series]:
    """The loss; of one coordinate the histogram over its density; and how log w is spread."""
    if fitted.losses:
        steps, values = zip(*fitted.losses)
        every = max(1, len(steps) // 200)
        line = Line.of("loss", steps[::every], values[::every])
        yield Series("Loss", "step", "loss", (line,), log=(False, None))
    if fitted.target.dim == 1:
        low, high = float(x.min()), float(x.max())
        edges = torch.linspace(low, high, BARS + 1, dtype=torch.float64)
        middles, width = (edges[1:] + edges[:-1]) / 2, (high - low) / BARS
        bars = torch.histc(x.double(), BARS, low, high) / (len(x) * width)
        log_z = fitted.log_z if fitted.target.log_z is None else fitted.target.log_z
        true = (fitted.target(middles[:, None]).detach() - log_z).exp()
        lines = Line.of("samples", middles, bars), Line.of("density", middles, true, dashed=True)
        yield Series("Density", "x", "density", lines, zero=True)
    if fitted.reached is None:
        w = fitted.drawn.log_weight
        places = torch.linspace(0.001, 0.999, 101, dtype=torch.float64)
        line = Line.of("log w", places, w.quantile(places))
        yield Series("Weights", "part of the paths", "log w", (line,))


def first_two(fitted: FittedDensity) -> Plane | None:
    """The first two coordinates of samples, beside exact ones or a population's."""
    if fitted.target.dim < 2:
        return None
    x = fitted.samples[:SHOWN, :2]
    reached = fitted.reference or fitted.reached
    if fitted.target.draw is not None:
        other = fitted.target.exact(SHOWN, torch.Generator().manual_seed(fitted.seed + 3))
    else:
        assert reached is not None
        other = replace(fitted, reached=reached).sample(SHOWN)
    other = other[:, :2]
    low, high = other.quantile(0.002, 0), other.quantile(0.998, 0)
    half = REACH * float((high - low).max()) / 2
    return Plane(other, x, (low + high) / 2, half, ())
