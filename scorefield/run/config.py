"""What a run is made of: the info of its data, and the objects that its settings stand for."""

import copy
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch

from scorefield import catalogue
from scorefield.base import BadInput, Level, unknown
from scorefield.base.noise import first_weights
from scorefield.catalogue.signatures import names
from scorefield.catalogue.spec import Spec, bound, build, find, options, parsed, with_defaults
from scorefield.data import Conditions, Data
from scorefield.data.info import DataInfo
from scorefield.data.kind import FROM_LEFT, KINDS, LETTERED, Kind
from scorefield.data.letters import END
from scorefield.denoise import Denoiser, Manner, Spaced, Timed, views
from scorefield.denoise.guest import guest_denoiser, guest_of, timed
from scorefield.denoise.precondition import quicker
from scorefield.objective import Bridged, Criterion
from scorefield.process import Schedule, Spectral, basis_of, check_one_level
from scorefield.run.settings import Config, ObjectiveConfig, StudentConfig, check_game, fitting
from scorefield.spaces import band_deviations
from scorefield.train import Training

UNBIASED = ("uniform", "stratified", "antithetic", "adaptive")
"""Laws of times that leave the expectation of a uniform t."""

NOISES = ("absorbing", "multinomial", "autoregressive")
"""Of letters."""
OWN = {name for kind in (*KINDS, *LETTERED.values()) for name in kind.networks}
"""Networks whose data are known; those of others say it themselves."""
SMALLEST_ALPHA = 1e-4
"""D = (x - sigma eps)/alpha turns float32's 6e-8 into at most 1e-3 of a unit at this alpha."""


def build_schedule(o: ObjectiveConfig, deviations: tuple[float, ...] = ()) -> Schedule:
    """The schedule that an objective names, with its cleanest level, or for data of these
    deviations in the bands of its basis."""
    if o.cleanest is None:
        return build("schedules", o.schedule, **({"deviations": deviations} if deviations else {}))
    if parsed(o.schedule).name != "learned":
        raise BadInput(
            f"`objective.cleanest` {o.cleanest:g} is of the schedule learned, and the schedule is "
            f"{o.schedule}.",
            "Leave it out.",
        )
    return build("schedules", o.schedule, gamma_0=-o.cleanest)


def measured_bands(schedule: Schedule, data: Data) -> tuple[float, ...]:
    """The deviations of data in the bands of the schedule's basis; none of a scalar schedule."""
    if not isinstance(schedule, Spectral):
        return ()
    return tuple(round(v, 6) or 1e-6 for v in band_deviations(schedule.basis, data.some()))


def network(net: str, info: DataInfo) -> Spec:
    """The network's spec; of auto the one that fits the data, with those options that it has."""
    return fitting(net, Kind.of(info.inner, info.space).network)


def build_denoiser(config: Config, info: DataInfo) -> Denoiser:
    """A fresh network with its preconditioning; its weights come from the run's seed."""
    scaling = None if info.codec else info.scaling
    about = {"shape": info.inner, "scaling": scaling, "classes": tuple(info.classes)}
    with first_weights(config.training.seed):
        if config.source:
            s = config.source
            net = guest_of(s.network, s.dtype, s.null, s.text, s.empty)
            denoiser = guest_denoiser(net, s.scheduler, info.sigma_data, **about)
        else:
            denoiser = _denoiser(config, info, about)
        if config.student:
            denoiser.net = as_student(denoiser.net, config.student)
            denoiser.manner = manner(config)
            spec = config.student.method
            find("students", parsed(spec).name).equip(denoiser, **with_defaults("students", spec))
    if what_learns(config.objective) == "adversaries":
        denoiser.manner = find("adversaries", parsed(config.objective.kind).name).manner()
    denoiser.precision = quicker(config.training.precision)
    return denoiser


def _denoiser(config: Config, info: DataInfo, about: dict[str, Any]) -> Denoiser:
    spec = network(config.net, info)
    variance = parsed(config.objective.kind).name == "hybrid"
    schedule = build_schedule(config.objective, info.deviations)
    basis = basis_of(schedule)
    net = build(
        "networks",
        spec,
        shape=basis.shape(info.inner) if basis.places else info.inner,
        letters=len(info.alphabet),
        classes=len(info.classes) or None,
        out_channels=2 * info.inner[0] if variance else None,
        **_sizes(seen_by(config, info.conditions), spec.name),
    )
    given = {"schedule": schedule, "variance": variance, **about}
    if info.space:
        return Spaced(net, space_of(config, info), info.alphabet, **given)
    make = timed if getattr(net, "timed", False) else Denoiser
    if parsed(config.objective.kind).name == "bridge":
        make = partial(Timed, convention=_bridged(config.objective).convention)
    return make(net, view=config.objective.view, sigma_data=info.sigma_data, **given)


def space_of(config: Config, info: DataInfo) -> Any:
    """Where a run's samples live, if not in R^n; of letters its objective says by which noise.
    Raises BadInput for an objective of another place."""
    kind = parsed(config.objective.kind).name
    letters = info.kind.lettered
    if (kind in catalogue.matchings) != bool(info.space) or letters != (kind in NOISES):
        usual = (
            NOISES if letters else ("kernel-score", "geodesic") if info.space else ("regression",)
        )
        raise BadInput(
            f"`objective.kind` is {kind}, and the data are {info.kind.plural}.",
            f"Use {' or '.join(usual)}.",
        )
    spec = kind if letters else info.space
    return build("spaces", spec, letters=len(info.alphabet), ends=info.alphabet[:1] == (END,))


def as_student(net: Any, student: StudentConfig) -> Any:
    """A copy of a network as the student of a method hears it. One that is told a timestep hears
    no more than that: BadInput for a method that must tell it where a map leads, or a guidance."""
    kind = find("students", parsed(student.method).name)
    if hasattr(net, "embedding"):
        return kind.network(net)
    if not getattr(net, "timed", False) or kind.learned == "maps" or student.guidance != 1:
        raise BadInput(
            f"the network {type(net).__name__} cannot hear where a map leads, or a guidance.",
            "Use consistency or progressive with `guidance` 1, or a network of Scorefield.",
        )
    return copy.deepcopy(net).requires_grad_(True)


def manner(config: Config) -> Manner:
    """How the student of a run is sampled: as its settings say."""
    student, sample = cast(StudentConfig, config.student), config.sample
    learned = find("students", parsed(student.method).name).learned
    plan = f"{sample.solver}@{sample.grid}/{sample.steps}"
    return Manner(plan, student.guidance, learned)


def _bridged(o: ObjectiveConfig) -> Bridged:
    return build("objectives", o.kind, schedule=build_schedule(o))


def seen_by(config: Config, said: Conditions) -> Conditions:
    """The conditions that the network reads: all, but x1 of a bridge that is not `conditional`."""
    if parsed(config.objective.kind).name != "bridge" or _bridged(config.objective).conditional:
        return said
    return replace(said, image=None, image_scaling=None)


def _sizes(said: Conditions, name: str) -> dict[str, int]:
    """Those sizes of the data's conditions that a network is built with."""
    unread = [key for key in said.keys if key == "image"]
    if name in ("unet2d", "dit2d") and said.keys:
        raise BadInput(
            f"the data come with {said.keys[0]}, and {name} reads labels only.",
            "Leave it out of the file, or use unet or dit.",
        )
    if name == "mlp" and unread:
        raise BadInput(
            "the data come with image, and an mlp reads labels, vectors and tokens only.",
            "Leave it out of the file, or give a vector instead.",
        )
    return said.sizes


def build_objective(config: Config, info: DataInfo, schedule: Schedule) -> Criterion:
    """The objective that the settings name, on the denoiser's schedule, which it may train."""
    o = config.objective
    weight = build("weights", o.weight, schedule=schedule, sigma_data=info.sigma_data)
    given = {"schedule": schedule, "times": build("times", o.law), "weight": weight}
    if (kind := what_learns(o)) == "objectives":
        given["coupling"] = build("couplings", o.coupling)
    return build(kind, o.kind, **given, dropout=o.dropout)


def what_learns(o: ObjectiveConfig) -> str:
    """The kind of the catalogue that the objective is an entry of."""
    kinds = ("matchings", "adversaries")
    return next((kind for kind in kinds if parsed(o.kind).name in names(kind)), "objectives")


def check(config: Config) -> None:
    """Raise BadInput for names and pairings that would fail later: after an hour, or in samples."""
    o, sample = config.objective, config.sample
    if o.view not in views:
        raise unknown("view", o.view, views)
    if what_learns(o) == "adversaries":
        check_game(config, find("adversaries", parsed(o.kind).name).plan)
    for kind, text in ((what_learns(o), o.kind), ("weights", o.weight), ("times", o.law),
                       ("couplings", o.coupling)):  # fmt: skip
        bound(kind, text)
    if what_learns(o) == "matchings":
        bound("walks", sample.solver)
    elif parsed(sample.solver).name in names("walks"):
        fact = (
            f"`objective.kind` is {o.kind}, and the solver {sample.solver} is not of data in R^n."
        )
        raise BadInput(fact, f"Use {', '.join(names('matchings'))}, or `sample.solver` arc.")
    else:
        build("solvers", sample.solver)
    if config.source:
        return
    if (name := parsed(config.net).name) != "auto":
        find("networks", name)
    if name.endswith("autoencoder"):
        raise BadInput(
            f"`net.name` is {name}, and `objective.kind` {o.kind} is of a denoiser.",
            "Use `objective.kind` vae or ae, or another network.",
        )
    schedule = build_schedule(o)
    alpha = float(schedule(torch.tensor(1.0)).alpha.detach())
    if isinstance(schedule, Spectral):
        alpha = float(schedule.leaves(torch.ones(1).double(), (256, 16, 16)).alpha.min())
    if o.view in ("eps", "score") and alpha < SMALLEST_ALPHA:
        raise BadInput(
            f"view {o.view} with schedule {o.schedule}: alpha is {alpha:.2g} at t=1, where the "
            f"{o.view} says nothing about x0.",
            "Use `objective.view` v or edm, or a schedule that keeps some signal, such as vp.",
        )
    if what_learns(o) == "adversaries":
        check_one_level(schedule, f"`objective.kind` {o.kind}")
    else:
        check_objective(o, schedule, config.training)
    if config.student and config.training.compile:
        raise BadInput("a student's network is not compiled.", "Leave `compile` out.")
    build_levels(sample.grid, schedule, sample.steps)
    catalogue.guides["cfg"](sample.guidance)


def check_objective(o: ObjectiveConfig, schedule: Schedule, training: Training) -> None:
    """Raise BadInput for an objective, schedule, law of times and weight that do not fit."""
    kind, weight, law, on = (parsed(v).name for v in (o.kind, o.weight, o.law, o.schedule))
    if (kind == "variational") != (on == "learned"):
        raise BadInput(
            f"`objective.kind` {o.kind} with `objective.schedule` {o.schedule}: the variational "
            "objective trains the schedule learned, and no other may.",
            "Give `objective.kind` variational `objective.schedule` learned, or neither.",
        )
    if law not in UNBIASED and kind in ("variational", *NOISES):
        bound = f"{kind} bound" if kind == "variational" else "bound"
        fact = f"`objective.times` {o.law} does not keep the {bound}'s expectation."
        raise BadInput(fact, f"Use one of {', '.join(UNBIASED)}.")
    place = "ve" if kind == "kernel-score" else "flow"
    if kind in catalogue.matchings and on != place:
        fact = f"`objective.kind` {kind} on `objective.schedule` {o.schedule}: it is on {place}."
        raise BadInput(fact, f"Use `objective.schedule` {place}.")
    for flag, value in (("kind", kind), ("weight", weight)):
        if value in ("hybrid", "vlb") and on != "ddpm":
            raise BadInput(
                f"`objective.{flag}` {value} needs the steps of a chain, and the schedule is "
                f"{o.schedule}.",
                "Add `objective.schedule` ddpm.",
            )
    if kind == "bridge" and on != "flow":
        raise BadInput(
            f"`objective.kind` {o.kind} with `objective.schedule` {o.schedule}: a bridge runs on "
            "flow.",
            "Add `objective.schedule` flow.",
        )
    if parsed(o.coupling).name != "independent" and kind not in ("bridge", "regression"):
        raise BadInput(
            f"`objective.coupling` {o.coupling} does nothing: it is of regression and bridge, and "
            f"`objective.kind` is {o.kind}.",
            "Leave it out.",
        )
    if kind != "regression":
        check_one_level(schedule, f"`objective.kind` {o.kind}")
    if kind == "sliced" and training.compile:
        fact = "the sliced objective differentiates twice, which compiled networks cannot."
        raise BadInput(fact, "Leave `compile` out.")
    build("times", o.law)(schedule, 1, torch.Generator())  # a level that is not there raises


def build_levels(
    grid: str, schedule: Schedule, steps: int, start: float = 1.0, sigma_data: float = 1.0
) -> Level:
    """The levels of a grid by its spec, from t = start to data of that deviation."""
    given = {"schedule": schedule, "steps": steps, "start": start, "sigma_data": sigma_data}
    with torch.no_grad():  # a learned schedule's levels carry gradients
        return build("grids", grid, **given)


def check_used(config: Config, usual: Config, info: DataInfo) -> None:
    """Raise BadInput for a setting that is neither the usual one nor the default, and that what
    was chosen does not read."""
    spec, o = network(config.net, info), config.objective
    fits = Kind.of(info.inner, info.space).networks
    if spec.name not in fits and spec.name in OWN:
        raise BadInput(
            f"`net.name` {spec.name} does not read data of the shape {info.inner}.",
            f"Use {' or '.join(fits)}.",
        )
    if (spec.name in FROM_LEFT) != (parsed(o.kind).name == "autoregressive"):
        raise BadInput(
            f"`objective.kind` {o.kind} with `net.name` {spec.name}: places that are shown one "
            f"after another are read by the network {' or '.join(FROM_LEFT)}, and by no other.",
            f"Give `objective.kind` autoregressive and `net.name` {' or '.join(FROM_LEFT)}, or "
            "neither.",
        )
    if spec.name in FROM_LEFT and config.sample.steps < info.shape[0]:
        raise BadInput(
            f"`sample.steps` is {config.sample.steps}, and each of {info.shape[0]} letters is "
            "drawn in a step of its own.",
            f"Give at least {info.shape[0]}.",
        )
    has = {
        name: {option.name for option in options("networks", name)} for name in catalogue.networks
    }
    read = has.get(spec.name) or {option.name for option in options("networks", spec.name)}
    for key, text in parsed(config.net).options.items():
        if key in read or text in (parsed(c.net).options.get(key) for c in (usual, Config())):
            continue
        nets = [name for name, keys in has.items() if key in keys]
        if not nets:
            raise unknown(f"option of {spec.name}", key, read)
        raise BadInput(
            f"`net.{key}` {text} does nothing: it is of {' and '.join(nets)}, and the network is "
            f"{spec.name}.",
            "Leave it out.",
        )
    bare = "the data have no classes or other conditions" * (
        not info.classes and not info.conditions.keys
    )
    unread = {}
    if parsed(o.kind).name == "variational":
        unread["objective.weight"] = "the variational objective has no weight to choose"
    if bare:
        unread |= {"objective.dropout": bare, "sample.guidance": bare}
    for path, why in unread.items():
        group, field = path.split(".")
        value, *free = (getattr(getattr(c, group), field) for c in (config, usual, Config()))
        if value not in free:
            raise BadInput(f"`{path}` {value} does nothing: {why}.", "Leave it out.")
