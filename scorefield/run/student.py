"""A student's run: its settings, made from those of its teacher's, and what it learns."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from scorefield.base import BadInput
from scorefield.base.noise import first_weights
from scorefield.catalogue.plans import plan
from scorefield.catalogue.signatures import find
from scorefield.catalogue.spec import build, canonical, parsed, with_defaults
from scorefield.denoise import Denoiser
from scorefield.distill import Progressive, Student
from scorefield.nets.maps import MapEmbedding
from scorefield.process import check_one_level
from scorefield.run.config import as_student, build_schedule, what_learns
from scorefield.run.open import Run, open_run
from scorefield.run.pairs import is_paired
from scorefield.run.settings import Config, SampleConfig, StudentConfig
from scorefield.run.stored import run_settings
from scorefield.train import Training


def training_of(path: Path) -> Training:
    """How a student of a run is trained unless it is said: as long as it, in smaller steps."""
    teacher = run_settings(path)[1].training
    return replace(
        teacher, lr=teacher.lr / 3, matrix_lr=teacher.matrix_lr / 3, warmup=teacher.warmup // 4,
        compile=False, ema_lengths=(), snapshot_every=0, trackers=(),
    )  # fmt: skip


def student(
    teacher: str | Path,
    method: str = "consistency",
    guidance: float | None = None,
    training: Training | None = None,
) -> Config:
    """The settings of a student of the run at `teacher`, for `fit`.

    `method` is a spec of the catalogue's students; `guidance` the largest scale that is distilled
    in, by default that by which the teacher is sampled.
    """
    folder, config, info = run_settings(teacher)
    if not config.source:  # whose schedules have one level
        check_one_level(build_schedule(config.objective, info.deviations), "distillation")
    kind = method_of(method)
    of_noise = what_learns(config.objective) == "objectives" and not is_paired(config, info)
    if not of_noise:
        fact = f"{teacher} has no flow from noise to be learned: it is of {config.objective.kind}."
        raise BadInput(fact, "Distill a diffusion run.")
    if not kind.shown and info.conditions.keys:
        names = ", ".join(info.conditions.keys)
        fact = f"{method} makes its own examples, of classes alone, and the run is told {names}."
        raise BadInput(fact, "Use a method that learns on data, such as consistency.", "method")
    own = plan(kind.plan_of(info.sigma_data, **with_defaults("students", method)))
    usual = config.sample.guidance if info.classes or info.conditions.keys else 1.0
    scale = (usual if kind.taught is not False else 1.0) if guidance is None else guidance
    return replace(
        config,
        training=training or training_of(folder.path),
        sample=SampleConfig(own.solver, cast(int, own.steps), cast(str, own.grid), scale),
        init=None,
        adapter=None,
        student=StudentConfig(
            canonical("students", method), str(teacher), folder.images_seen(), scale
        ),
    )


def method_of(method: str) -> type[Student]:
    """The class of a method, by its spec."""
    return cast(type[Student], find("students", parsed(method).name))


def teacher_of(config: Config) -> Run:
    """The run that a student learns from, or BadInput if it is another by now."""
    said = cast(StudentConfig, config.student)
    run = open_run(said.teacher)
    for what, now, then in (
        ("images", run.images_seen, said.images),
        ("schedule", run.config.objective.schedule, config.objective.schedule),
        ("network", run.config.net, config.net),
    ):
        if now != then:
            raise BadInput(
                f"the teacher {said.teacher} has {what} {now}, and the student was to have one "
                f"with {then}.",
                "Distill anew in another `out`.",
            )
    return run


def student_task(config: Config) -> Student:
    """What a student learns: a copy of its teacher as a map, and the teacher.

    Raises BadInput for a teacher that the method cannot learn from.
    """
    run, said = teacher_of(config), cast(StudentConfig, config.student)
    kind, module = method_of(said.method), copy.deepcopy(run.denoiser)
    with first_weights(config.training.seed):
        module.net = as_student(module.net, said)
        embedding = cast(Any, getattr(module.net, "embedding", None))
        if kind.learned != "maps" and module.manner and isinstance(embedding, MapEmbedding):
            torch.nn.init.zeros_(cast(Any, embedding.leave[0]).weight)  # it is not told its end
    steps = -(-config.training.images // config.training.batch)
    task = build(
        "students", said.method, module=module, guidance=said.guidance, steps=steps,
        teacher=None if kind.taught is False else run.denoiser, dropout=config.objective.dropout,
    )  # fmt: skip
    check_teacher(task, run.denoiser)
    return task


def check_teacher(task: Student, teacher: Denoiser) -> None:
    """Raise BadInput for a teacher whose D is no posterior mean, but where the method takes its
    steps: progressive distillation goes on from that of another student."""
    own = teacher.manner
    if task.teacher is None or own is None or own.has_mean:
        return
    _, grid, steps = plan(own.plan)
    if not isinstance(task, Progressive) or own.learned != "plan":
        raise BadInput(
            f"the teacher is itself a student, made for {own.plan}, whose D is no mean.",
            "Give its own teacher, or a student of the methods meanflow or shortcut.",
        )
    if task.first != steps:
        raise BadInput(
            f"the teacher is a student of {steps} steps, and the first stage halves {task.first}.",
            f"Give progressive:first={steps}.",
        )
    _, wanted, _ = plan(cast(Any, task.module.manner).plan)
    if grid != wanted:
        raise BadInput(
            f"the teacher is a student on the grid {grid}, and the stages' is {wanted}.",
            f"Give progressive:first={steps},grid={parsed(cast(str, grid)).name}.",
        )
