"""What a run is made of: typed settings, and the objects that they stand for."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
import tyro

from scorefield import catalogue
from scorefield.base import BadInput, Level, unknown
from scorefield.data import Conditions, Data, Scaling, load
from scorefield.denoise import Denoiser, views
from scorefield.objective import Criterion, Variational
from scorefield.process import Schedule
from scorefield.train import Training

UNBIASED = ("uniform", "stratified", "antithetic", "adaptive")
"""Laws of times that leave the expectation of a uniform t."""

SMALLEST_ALPHA = 1e-4
"""D = (x - sigma eps)/alpha turns float32's 6e-8 into at most 1e-3 of a unit at this alpha."""


@dataclass(frozen=True)
class DataConfig:
    """Which data."""

    name: str = "digits"
    """A registered set, a folder of pictures, or an .npz file."""
    path: str | None = None
    """Where it is, for sets that are not embedded."""
    size: int | None = None
    """Pixels of a side to shrink and crop pictures to."""
    channels: int | None = None
    """1 for grey or 3 for colour, where the set leaves a choice."""


@dataclass(frozen=True)
class NetConfig:
    """Which network."""

    name: Literal["auto", "unet", "dit", "mlp"] = "auto"
    """unet or dit for pictures, mlp for vectors; auto takes unet or mlp, whichever fits."""
    width: int = 32
    """Channels at full size (unet), of a patch (dit) or hidden units (mlp)."""
    blocks: int = 2
    """Residual blocks at each resolution (unet) or in all (dit, mlp)."""
    multipliers: tuple[int, ...] = (1, 2)
    """unet: width at each resolution, as multiples; each halves the size."""
    attention: tuple[int, ...] | None = None
    """unet: resolutions with self-attention; 0 is full size, None the deepest."""
    norm: Literal["group", "layer", "rms"] = "group"
    """unet: over groups of channels and all pixels, or over the channels of each pixel."""
    norms: Literal[1, 2] = 2
    """unet: normalisations in a residual block; with 1 a step is about 5% shorter."""
    patch: int = 2
    """dit: pixels of a side of a patch."""
    heads: int = 4
    """dit: heads of its attention."""
    features: Literal["sinusoidal", "fourier"] = "sinusoidal"
    """How the network is told the noise level: waves of geometric or of random frequencies."""
    dropout: float = 0.0
    """Share of activations dropped in training."""
    checkpoint: bool = False
    """unet, dit: less memory in training, a third more arithmetic."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the network learns."""

    kind: Literal["regression", "sliced", "hybrid", "variational"] = "regression"
    """regression; sliced (from noisy data alone); hybrid (learns the reverse variance too, on
    schedule ddpm); variational (trains the schedule, on schedule learned)."""
    schedule: str = "cosine"
    """The forward process (scorefield catalogue schedules)."""
    cleanest: float | None = None
    """Schedule learned: logsnr of its cleanest level; None is 13.3, that of data of 256 levels."""
    view: str = "edm"
    """What the network predicts: x0, eps, score, v, flow or edm."""
    weight: str = "edm"
    """Weight of each noise level (scorefield catalogue weights)."""
    times: str = "auto"
    """Which noise levels are trained how often (scorefield catalogue times); auto is covering, but
    antithetic for variational, and lognormal where pure noise says nothing: eps, score, sliced."""
    dropout: float = 0.1
    """Share of samples that learn without their condition (for guidance)."""

    @property
    def law(self) -> str:
        """The law of times, "auto" resolved.

        >>> ObjectiveConfig().law, ObjectiveConfig(view="eps").law
        ('covering', 'lognormal')
        """
        if self.times != "auto":
            return self.times
        if self.kind == "variational":
            return "antithetic"
        undefined = self.view in ("eps", "score") or self.kind == "sliced"
        return "lognormal" if undefined else "covering"


@dataclass(frozen=True)
class SampleConfig:
    """How samples are made unless asked otherwise."""

    solver: str = "arc"
    """Solver (scorefield catalogue solvers)."""
    steps: int = 20
    """Solver steps."""
    grid: str = "vp-root"
    """Which noise levels the steps visit (scorefield catalogue grids)."""
    guidance: float = 1.0
    """Scale of classifier-free guidance; 1 is the plain conditional model."""


@dataclass(frozen=True)
class Config:
    """A whole run. `config.json` in the run folder holds it, resolved."""

    training: Annotated[Training, tyro.conf.arg(name="")] = field(default_factory=Training)
    data: DataConfig = field(default_factory=DataConfig)
    net: NetConfig = field(default_factory=NetConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)

    def load_data(self) -> Data:
        """The data set that the run trains on."""
        d = self.data
        return load(d.name, path=d.path, size=d.size, channels=d.channels, seed=self.training.seed)


@dataclass(frozen=True)
class DataFacts:
    """What a trained run must know of its data to be used without it."""

    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    scaling: Scaling
    sigma_data: float
    conditions: Conditions = Conditions()
    edition: int = 1
    present: tuple[int, ...] | None = None
    """The classes that have a training example; None in runs of versions that did not say."""

    @property
    def drawn(self) -> tuple[int, ...]:
        """The classes that are sampled unless asked otherwise."""
        return tuple(range(len(self.classes))) if self.present is None else self.present

    @property
    def told_alone(self) -> tuple[str, ...]:
        """The classes, where a class is all that a sample can be told."""
        return () if self.conditions.keys else tuple(self.classes)

    def same(self, data: Data, split: bool = True) -> Data:
        """The data that a run of these facts was trained on, or another draw of them, in the run's
        own units; with `split`, held out as they were. Or BadInput."""
        self.check_same(data, split)
        if (data.scaling, data.conditions) == (self.scaling, self.conditions):
            return data
        return replace(data, scaling=self.scaling, conditions=self.conditions)

    def check_same(self, now: Data, split: bool) -> None:
        """Raise BadInput if data are not those that a run was trained on, by their facts."""
        remedy = "Give the data that the run was trained on, or train anew."
        if (now.shape, len(now.classes)) != (self.shape, len(self.classes)):
            raise BadInput(
                f"the data have shape {now.shape} and {len(now.classes)} classes, those that the "
                f"run was trained on {self.shape} and {len(self.classes)}.",
                remedy,
            )
        if now.classes != self.classes:
            new, old = next(pair for pair in zip(now.classes, self.classes) if pair[0] != pair[1])
            raise BadInput(f"the data have a class '{new}' where the run has '{old}'.", remedy)
        if now.conditions.sizes != self.conditions.sizes:
            raise BadInput(
                f"the data come with {_told(now.conditions)}, those that the run was trained on "
                f"with {_told(self.conditions)}.",
                remedy,
            )
        if split and now.edition != self.edition:
            raise BadInput(
                f"the run was trained on edition {self.edition} of '{self.name}', and edition "
                f"{now.edition} holds out other examples, which the run has seen.",
                "Train anew in another `out` to measure or to go on; it can be sampled as it is.",
            )
        for what, own, new in (
            ("data", self.scaling, now.scaling),
            ("data's vectors", self.conditions.vector_scaling, now.conditions.vector_scaling),
            ("data's images", self.conditions.image_scaling, now.conditions.image_scaling),
        ):
            if own and new and (k := own.apart(new)) is not None:
                raise BadInput(
                    f"the {what} lie about {new.offset[k]:.12g} with the scale {new.scale[k]:.6g}, "
                    f"those that the run was trained on about {own.offset[k]:.12g} with "
                    f"{own.scale[k]:.6g}.",
                    remedy,
                )

    @classmethod
    def of(cls, data: Data) -> "DataFacts":
        """Read off the data; sigma_data is the deviation of (at most 10,000) training examples, in
        the coordinates that are not constant."""
        some = torch.arange(min(len(data.train), 10_000))
        x0 = data.batch(data.train, some)[0]
        if constant := set(data.scaling.constant):
            x0 = x0[:, [i for i in range(x0.shape[1]) if i not in constant]]
        deviation = float(x0.std(correction=0)) if x0.numel() else 0.0
        sigma_data = round(deviation, 6) or deviation
        if not sigma_data > 0:
            raise BadInput(
                f"the {len(data.train)} training examples of '{data.name}' are all one value.",
                "Give data that vary.",
            )
        own = (data.name, data.shape, data.classes, data.scaling)
        return cls(*own, sigma_data, data.conditions, data.edition, data.present or None)


def _told(conditions: Conditions) -> str:
    sizes = [f"{name} {size}" for name, size in conditions.sizes.items()]
    return ", ".join(sizes) or "no conditions"


def build_schedule(o: ObjectiveConfig) -> Schedule:
    """The schedule that an objective names, with its defaults but for the cleanest level."""
    if o.schedule not in catalogue.schedules:
        raise unknown("schedule", o.schedule, catalogue.schedules)
    if o.cleanest is None:
        return catalogue.schedules[o.schedule]()
    if o.schedule != "learned":
        raise BadInput(
            f"`objective.cleanest` {o.cleanest:g} is of the schedule learned, and the schedule is "
            f"{o.schedule}.",
            "Leave it out.",
        )
    return catalogue.schedules[o.schedule](gamma_0=-o.cleanest)


def network_name(net: NetConfig, facts: DataFacts) -> str:
    """The network's name in the catalogue, found by the data where it is auto."""
    return net.name if net.name != "auto" else ("unet" if len(facts.shape) == 3 else "mlp")


def build_denoiser(config: Config, facts: DataFacts) -> Denoiser:
    """A fresh network with its preconditioning; its weights come from the run's seed."""
    net = config.net
    name = network_name(net, facts)
    variance = config.objective.kind == "hybrid"
    options: dict[str, Any] = {
        "width": net.width,
        "depth" if name == "dit" else "blocks": net.blocks,
        "classes": len(facts.classes) or None,
        "out_channels": 2 * facts.shape[0] if variance else None,
        "features": net.features,
        "dropout": net.dropout,
    }
    if name == "unet":
        options |= {"multipliers": net.multipliers, "attention": net.attention}
        options |= {"norm": net.norm, "norms": net.norms}
    if name == "dit":
        options |= {"patch": net.patch, "heads": net.heads}
    if name != "mlp":
        options["checkpoint"] = net.checkpoint
    options |= _sizes(facts.conditions, name)
    with torch.random.fork_rng():
        torch.manual_seed(config.training.seed)
        network = catalogue.networks[name](facts.shape, **options)
    return Denoiser(
        network,
        config.objective.view,
        facts.sigma_data,
        variance=variance,
        schedule=build_schedule(config.objective),
        shape=tuple(facts.shape),
        scaling=facts.scaling,
        classes=tuple(facts.classes),
    )


def _sizes(said: Conditions, name: str) -> dict[str, int]:
    """Those sizes of the data's conditions that a network is built with."""
    unread = [key for key in said.keys if key != "vector"]
    if name == "mlp" and unread:
        raise BadInput(
            f"the data come with {unread[0]}, and an mlp reads labels and vectors only.",
            "Leave it out of the file, or give a vector instead, such as the mean of the tokens.",
        )
    return said.sizes


def build_objective(config: Config, facts: DataFacts, schedule: Schedule) -> Criterion:
    """The objective that the settings name, on the denoiser's schedule, which it may train."""
    o = config.objective
    times = catalogue.times[o.law]()
    if o.kind == "variational":
        return Variational(schedule, times, o.dropout)  # type: ignore[arg-type] checked there
    given = {"edm": facts.sigma_data, "vlb": schedule, "likelihood": schedule}
    make = catalogue.weights[o.weight]
    weight = make(given[o.weight]) if o.weight in given else make()
    return catalogue.objectives[o.kind](schedule, times, weight, dropout=o.dropout)


def check(config: Config) -> None:
    """Raise BadInput for names and pairings that would fail later: after an hour, or in samples."""
    o, sample = config.objective, config.sample
    for kind, name, names in (
        ("schedule", o.schedule, catalogue.schedules),
        ("view", o.view, views),
        ("weight", o.weight, catalogue.weights),
        ("law of times", o.law, catalogue.times),
        ("solver", sample.solver, catalogue.solvers),
        ("grid", sample.grid, catalogue.grids),
    ):
        if name not in names:
            raise unknown(kind, name, names)
    schedule = build_schedule(o)
    alpha = float(schedule(torch.tensor(1.0)).alpha.detach())
    if o.view in ("eps", "score") and alpha < SMALLEST_ALPHA:
        raise BadInput(
            f"view {o.view} with schedule {o.schedule}: alpha is {alpha:.2g} at t=1, where the "
            f"{o.view} says nothing about x0.",
            "Use `objective.view` v or edm, or a schedule that keeps some signal, such as vp.",
        )
    check_objective(o, schedule, config.training)
    build_levels(sample.grid, schedule, sample.steps)
    catalogue.guides["cfg"](sample.guidance)


def check_objective(o: ObjectiveConfig, schedule: Schedule, training: Training) -> None:
    """Raise BadInput for an objective, schedule, law of times and weight that do not fit."""
    if (o.kind == "variational") != (o.schedule == "learned"):
        raise BadInput(
            f"`objective.kind` {o.kind} with `objective.schedule` {o.schedule}: the variational "
            "objective trains the schedule learned, and no other may.",
            "Give `objective.kind` variational `objective.schedule` learned, or neither.",
        )
    if o.kind == "variational" and o.law not in UNBIASED:
        raise BadInput(
            f"`objective.times` {o.law} does not keep the variational bound's expectation.",
            f"Use one of {', '.join(UNBIASED)}.",
        )
    for flag, value in (("kind", o.kind), ("weight", o.weight)):
        if value in ("hybrid", "vlb") and o.schedule != "ddpm":
            raise BadInput(
                f"`objective.{flag}` {value} needs the steps of a chain, and the schedule is "
                f"{o.schedule}.",
                "Add `objective.schedule` ddpm.",
            )
    if o.kind == "sliced" and training.compile:
        raise BadInput(
            "the sliced objective differentiates twice, which compiled networks cannot.",
            "Leave `compile` out.",
        )
    catalogue.times[o.law]()(schedule, 1, torch.Generator())  # a level that is not there raises


def build_levels(grid: str, schedule: Schedule, steps: int, start: float = 1.0) -> Level:
    """The levels of a named grid, from t = start to data."""
    if grid not in catalogue.grids:
        raise unknown("grid", grid, catalogue.grids)
    with torch.no_grad():  # a learned schedule's levels carry gradients
        return catalogue.grids[grid](schedule, steps, start)


READ_BY = {
    "multipliers": ("unet",),
    "attention": ("unet",),
    "norm": ("unet",),
    "norms": ("unet",),
    "patch": ("dit",),
    "heads": ("dit",),
    "checkpoint": ("unet", "dit"),
}
"""Networks that read a setting which not all read."""


def check_used(config: Config, usual: Config, facts: DataFacts) -> None:
    """Raise BadInput for a setting that is neither the usual one nor the default, and that what
    was chosen does not read."""
    net, o, default = config.net, config.objective, Config()
    name, pictures = network_name(net, facts), len(facts.shape) == 3
    if (name == "mlp") == pictures:
        raise BadInput(
            f"`net.name` {name} does not read data of the shape {facts.shape}.",
            f"Use {'unet or dit' if pictures else 'mlp'}.",
        )
    untold = "the data have no classes or other conditions" * (
        not facts.classes and not facts.conditions.keys
    )
    unread = {
        f"net.{field}": f"it is of {' and '.join(nets)}, and the network is {name}"
        for field, nets in READ_BY.items() if name not in nets
    }  # fmt: skip
    if o.kind == "variational":
        unread["objective.weight"] = "the variational objective has no weight to choose"
    if untold:
        unread |= {"objective.dropout": untold, "sample.guidance": untold}
    for path, why in unread.items():
        group, field = path.split(".")
        value, *free = (getattr(getattr(c, group), field) for c in (config, usual, default))
        if value not in free:
            raise BadInput(f"`{path}` {value} does nothing: {why}.", "Leave it out.")
