"""Distil a teacher, or data alone, into a student that needs few calls."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from scorefield.base import BadInput, Denoise, Watch, quiet, unknown
from scorefield.base.noise import first_weights
from scorefield.data import Data, Scaling, Split
from scorefield.data.kind import VECTOR, Kind
from scorefield.denoise import Denoiser
from scorefield.distill.consistency import Consistency, ConsistencyTraining
from scorefield.distill.flowmap import MeanFlow, Shortcut
from scorefield.distill.gan import DenoisingGAN
from scorefield.distill.genie import GenieHead
from scorefield.distill.knowledge import FlowOperator, Knowledge
from scorefield.distill.matching import Matching
from scorefield.distill.progressive import Progressive
from scorefield.distill.reflow import Reflow
from scorefield.distill.sampler import LearnedSampler, TeacherNetwork
from scorefield.distill.student import Student
from scorefield.distill.trigflow import TrigFlow
from scorefield.nets import MLP
from scorefield.process import Schedule
from scorefield.train import Training, learn

METHODS: Mapping[str, type[Student]] = {
    "knowledge": Knowledge,
    "operator": FlowOperator,
    "reflow": Reflow,
    "progressive": Progressive,
    "consistency": Consistency,
    "consistency-training": ConsistencyTraining,
    "trigflow": TrigFlow,
    "meanflow": MeanFlow,
    "shortcut": Shortcut,
    "dmd": Matching,
    "genie": GenieHead,
    "denoising-gan": DenoisingGAN,
    "learned-sampler": LearnedSampler,
}
DRAWN = 2**18
"""Examples drawn from an exact teacher, where a method needs data and none are given."""
_Method = str | Callable[..., Student]


def distil(
    method: _Method,
    teacher: Any = None,
    *,
    shape: tuple[int, ...] | None = None,
    schedule: Schedule | None = None,
    data: Data | Tensor | None = None,
    net: nn.Module | None = None,
    guidance: float = 1.0,
    watch: Watch = quiet,
    **training: Any,
) -> Denoiser:
    """The averaged student of a method, by name or as a factory of its task with options set:
    `partial(Consistency, narrow=.01)`.

    `teacher` is any `Denoise`, or an exact distribution such as `Mixture`, or None where data alone
    teach. That of a `Denoiser` gives shape, schedule and the network that the student starts from;
    else vectors are learned by an `MLP`, and anything by `net`. `data` are a data set or x0
    `(N, *shape)` in model units; an exact teacher draws its own. `guidance` is the largest scale
    distilled in. Further keywords are settings of `Training`: `images`, `seed`, `batch`, `lr`, ...

    The student brings its `manner`: `generate(student)` samples by the class's `plan`.

    Raises BadInput for a teacher of another shape, schedule or classes, and for a method that lacks
    its teacher, its data or a network.
    """
    settings = dataclasses.replace(Training(batch=1024, lr=1e-3, warmup=10_000), **training)
    exact = getattr(teacher, "__self__", teacher)
    if data is None and hasattr(exact, "sample"):
        data = exact.sample(DRAWN, settings.seed)
    data = as_data(data) if isinstance(data, Tensor) else data
    denoise = cast(Denoise | None, getattr(teacher, "denoise", teacher))
    with first_weights(settings.seed):
        module = student_of(
            teacher if isinstance(teacher, Denoiser) else denoise, shape, schedule, data, net,
            student_class(method),
        )  # fmt: skip
    steps = -(-settings.images // settings.batch)
    task = factory_of(method)(module, denoise, guidance=guidance, steps=steps)
    if task.shown and data is None:
        raise BadInput(f"{type(task).__name__} learns on data, and there are none.", "Give data.")
    return learn(
        task, data if task.shown and data else module.shape, settings,
        watch=lambda step: watch(min(step.images, step.total), step.total, "img"),
    )  # fmt: skip


def factory_of(method: _Method) -> Callable[..., Student]:
    """The class of a method by name, or what is one already."""
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    return METHODS[method]


def student_class(method: _Method) -> type[Student]:
    """The class of what makes a task."""
    factory = factory_of(method)
    return cast(type[Student], getattr(factory, "func", factory))


def student_of(
    teacher: Any,
    shape: tuple[int, ...] | None = None,
    schedule: Schedule | None = None,
    data: Data | None = None,
    net: nn.Module | None = None,
    kind: type[Student] = Student,
) -> Denoiser:
    """A student that has learned nothing yet, but what its teacher's network knows."""
    if isinstance(teacher, Denoiser):
        shape, schedule = shape or teacher.shape, schedule or teacher.schedule
        asked = shape, schedule, teacher.classes if data is None else data.classes
        for name, own, other in zip(("shape", "schedule", "classes"), _said(teacher), asked):
            if own != other:
                raise BadInput(f"the teacher's {name} is {own}, not {other}.", f"Give its {name}.")
    if not shape or schedule is None:
        raise BadInput("the student has no shape or no schedule.", "Give both.")
    if data is not None and data.shape != tuple(shape):
        raise BadInput(f"the data's shape is {data.shape}, not {shape}.", "Give the data's shape.")
    if isinstance(teacher, Denoiser):
        net = cast(nn.Module, teacher.net) if net is None else net
        about = teacher.view, teacher.sigma_data, teacher.scaling, teacher.classes
    elif data is None:
        raise BadInput("the deviation of what is learned is not known.", "Give data.")
    else:
        x0, _ = data.batch(data.train, torch.arange(min(len(data.train), 4096)))
        about = "edm", float(x0.std()), data.scaling, data.classes
        if issubclass(kind, LearnedSampler):
            net, about = TeacherNetwork(teacher, about[1]), ("x0", *about[1:])
        elif net is None and Kind.of(shape) is VECTOR:
            net = fresh(shape, len(data.classes))
    if not hasattr(net, "embedding") and not issubclass(kind, LearnedSampler):
        raise BadInput(
            f"{type(net).__name__} cannot hear where a map leads."
            if net
            else f"there is no network for {tuple(shape)}.",
            "Give net, a network of this package.",
        )
    view, spread, scaling, classes = about
    return Denoiser(
        kind.network(net), view, spread, schedule=schedule, shape=tuple(shape), scaling=scaling,
        classes=classes,
    )  # fmt: skip


def fresh(shape: tuple[int, ...], classes: int = 0, width: int = 64) -> MLP:
    """The network of a student of vectors that begins with nothing. It hears the level by waves
    four times as long as a denoiser's: a map changes little from level to level, and what is
    learned at one is to hold at the next."""
    net = MLP(shape, width=width, blocks=3, classes=classes or None)
    net.embedding.frequencies /= 4
    return net


def _said(teacher: Denoiser) -> tuple[Any, ...]:
    return teacher.shape, teacher.schedule, teacher.classes


def as_data(x0: Tensor) -> Data:
    """A data set of x0 in model units, nothing held out."""
    x0 = x0.float()
    return Data("given", Split(x0, {}), Split(x0[:1], {}), (), Scaling((0.0,), (1.0,)))
