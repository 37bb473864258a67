"""Train a run."""

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, cast

from scorefield.base import BadInput, unknown
from scorefield.base.noise import first_weights
from scorefield.catalogue.spec import build
from scorefield.data import Data
from scorefield.data.codec import Latents
from scorefield.data.info import DataInfo
from scorefield.data.remark import remarks
from scorefield.denoise import Denoiser
from scorefield.nets.adapter import merge
from scorefield.process import Schedule
from scorefield.run.adapter import adapter_info, adapter_of, base_place, on_base
from scorefield.run.autoencoder import (
    autoencoder_task,
    begin_codec,
    build_autoencoder,
    check_autoencoder,
    check_source,
    keep_codec,
    latents_of,
    learns_codes,
    open_autoencoder,
    open_codec,
    warn_dead,
)
from scorefield.run.config import (
    build_denoiser,
    build_objective,
    build_schedule,
    check,
    check_used,
    measured_bands,
    network,
    what_learns,
)
from scorefield.run.open import open_base, open_run
from scorefield.run.pairs import check_paired
from scorefield.run.recipes import recipe, recipes
from scorefield.run.settings import Config
from scorefield.run.stored import check_folder, resumed_json, stored_settings, to_json
from scorefield.run.student import method_of, student_task
from scorefield.store import Folder, digest_tensors
from scorefield.train import Denoising, Examples, Progress, Task, Team, Training, finish, fit

Watcher = Callable[[Progress], None]


def fit_run(
    config: Config | str,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    watch: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
    **training: Any,
) -> Any:
    """Train what a recipe (by name) or a configuration says; return the averaged `Denoiser`, or of
    an autoencoder's recipe the averaged `Autoencoder`.

    Further keywords replace settings of `Training`: `fit("digits", images=20_000, lr=1e-3)`.

    With `out`, the run folder gets `config.json`, checkpoints and `log.jsonl`; `resume` goes on
    from its last checkpoint, or starts if there is none. `watch` sees every step, in the main
    process; `stop` is asked at each, and ends the run with a checkpoint. `say` is told, before the
    first, what a person should know: the size of the network, what is compiled.

    Raises BadInput, before anything is written, for settings or data that cannot be trained on,
    and if `out` holds another run or cannot be written.
    """
    chosen = recipe(config) if isinstance(config, str) else config
    chosen = dataclasses.replace(chosen, training=_replaced(chosen.training, training))
    if chosen.adapter:
        usual = recipes.get(chosen.data.name, Config)()
        chosen = on_base(chosen, usual, None if out is None else Path(out))
    (check_autoencoder if learns_codes(chosen) else check)(chosen)
    folder, team = None if out is None else Folder(Path(out)), Team()
    with ExitStack() as held:
        if folder:
            team.together(lambda: _hold(folder, team, held))
        begun = team.together(lambda: _begin(folder, chosen, resume, say))
        data, info, seen, codec = begun
        if seen >= chosen.training.images and folder:
            if learns_codes(chosen):
                return open_autoencoder(folder.path).module
            return open_run(folder.path, spaces=True).denoiser
        if seen and folder:
            chosen = team.together(lambda: _as_settled(chosen, folder))
        for line in remarks(data) if team.is_main and isinstance(data, Data) else ():
            say(line)
        path = folder.path if folder else None
        task = team.together(lambda: _task(chosen, begun, path))
        steps = fit(task, data, chosen.training, path, resume, stop, say)
        writes, kept = folder if folder and team.is_main else None, chosen.training
        if writes and not seen:
            if codec:
                keep_codec(writes.path, codec)
            writes.keep_config(to_json(chosen, info))

        def see(step: Progress) -> None:
            nonlocal seen, kept
            now = _settled(chosen.training, step.micro_batch)
            if writes and (seen or now != kept):  # the checkpoint was whole: the settings are its
                kept = now
                settled = dataclasses.replace(chosen, training=now)
                writes.keep_config(resumed_json(writes.config(), settled))
                seen = 0
            if watch and team.is_main:
                watch(step)

        found = finish(steps, see)
        if chosen.adapter:
            plain = open_base(chosen, info, path)
            merge(found, plain)
            return plain
        return found


def _hold(folder: Folder, team: Team, held: ExitStack) -> None:
    """Keep other trainings out of the folder; the main process does it for all."""
    folder.check_new()
    if team.is_main:
        held.enter_context(folder.alone())


class Begun(NamedTuple):
    """What a run trains on, the info of its data that it goes by, the images that it has seen, and
    its codec. Of a student that needs no data the shape in their place."""

    data: Examples
    info: DataInfo
    seen: int
    codec: Latents | None = None


def _begin(
    folder: Folder | None, config: Config, resume: bool, say: Callable[[str], None]
) -> Begun:
    if folder:
        check_folder(folder, config, resume)
    seen, before, source = folder.images_seen() if folder and resume else 0, None, folder
    if not seen and config.student:
        source = Folder(Path(config.student.teacher))
    if source and (seen or config.student):
        before = stored_settings(source)[1]
    codec = open_codec(source.path, before) if source and before else None
    if config.student and before and not method_of(config.student.method).shown:
        return Begun(before.inner, before, seen, codec)
    data = config.load_data(folder and folder.path, say)
    place = config.cache_place(folder and folder.path, say)
    if before:
        check_source(config, before)
        data = before.same(data)
        drawn = config.latents == "sample"
        if codec and before.codec:
            data = latents_of(data, codec, before.codec, drawn, place)
        return Begun(data, before, seen, codec)
    if config.adapter:
        base = open_run(base_place(config, folder and folder.path), spaces=True)
        info = adapter_info(data, base.info, digest_tensors(base.denoiser.state_dict()))
        codec = cast(Latents | None, base.denoiser.codec)
        if codec and info.codec:
            data = latents_of(data, codec, info.codec, config.latents == "sample", place)
        return Begun(data, info, seen, codec)
    info, name, codec = DataInfo.of(data), config.data.name, None
    if config.codec:
        codec, said, data = begin_codec(config, data, place)
        info = dataclasses.replace(info, codec=said, sigma_data=1.0)
    if not learns_codes(config):
        bands = measured_bands(build_schedule(config.objective), data)
        info = dataclasses.replace(info, deviations=bands)
        if not config.student:
            check_paired(config, info)  # before what a recipe of pairs would not use
        check_used(config, recipes[name]() if name in recipes else Config(), info)
    if info.codec:
        warn_dead(info.codec)
    return Begun(data, info, seen, codec)


def _task(config: Config, begun: Begun, beside: Path | None) -> Task[Any]:
    data, info, seen, codec = begun
    if config.student:
        return student_task(config)
    if learns_codes(config):
        assert isinstance(data, Data)
        return autoencoder_task(config, data, build_autoencoder(config, info))
    denoiser = _denoiser(config, info, seen, beside)
    denoiser.codec = codec
    if what_learns(config.objective) == "adversaries":
        with first_weights(config.training.seed + 1):  # those of its own networks
            return build("adversaries", config.objective.kind, module=denoiser)
    objective = build_objective(config, info, cast(Schedule, denoiser.schedule))
    return Denoising(denoiser, objective)


def _denoiser(config: Config, info: DataInfo, seen: int, beside: Path | None) -> Denoiser:
    """A fresh denoiser, or, where the run begins, one with the averaged weights of another run; or
    that run's with an adapter."""
    if config.adapter:
        base = open_base(config, info, beside)
        with first_weights(config.training.seed):
            return adapter_of(config.adapter).adapted(base)
    denoiser = build_denoiser(config, info)
    if config.init is None or seen:
        return denoiser
    run = open_run(config.init, spaces=True)
    own, other = denoiser.state_dict(), run.denoiser.state_dict()
    same = denoiser.view == run.denoiser.view and own.keys() == other.keys()
    if not (same and all(own[name].shape == other[name].shape for name in own)):
        raise BadInput(
            f"`init` {config.init} is {_words(run.config, run.info)}, and this run is "
            f"{_words(config, info)}.",
            "Give the same network, view and shape, or another run.",
            "init",
        )
    denoiser.load_state_dict(other)
    return denoiser


def _settled(training: Training, rows: Any) -> Training:
    """The settings with what was found to fit, so that a resumed run rounds as this one does."""
    sought = training.micro_batch == "auto"
    return dataclasses.replace(training, micro_batch=rows) if sought else training


def _as_settled(config: Config, folder: Folder) -> Config:
    """The settings with what fitted when the run began."""
    found = stored_settings(folder)[0].training.micro_batch
    return dataclasses.replace(config, training=_settled(config.training, found))


def _words(config: Config, info: DataInfo) -> str:
    shape, classes = "x".join(map(str, info.inner)), len(info.classes)
    view = config.objective.view
    return f"{network(config.net, info)} with view {view} on {shape}, {classes} classes"


def _replaced(training: Training, changes: dict[str, Any]) -> Training:
    names = [field.name for field in dataclasses.fields(Training)]
    for name in changes:
        if name not in names:
            raise unknown("training setting", name, names)
    return dataclasses.replace(training, **changes)
