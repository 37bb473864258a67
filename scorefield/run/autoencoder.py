"""Runs of autoencoders, and the codec that a run on latents has of one: a copy, so that a folder
means the same wherever it lies and whatever becomes of the other."""

import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from scorefield.base import BadInput
from scorefield.base.errors import out_of_place
from scorefield.base.noise import first_weights
from scorefield.catalogue.signatures import names
from scorefield.catalogue.spec import Spec, bound, build, canonical, parsed
from scorefield.data import Conditions, Data, Split
from scorefield.data.codec import Latents
from scorefield.data.info import CodecInfo, DataInfo
from scorefield.data.kind import Kind
from scorefield.data.latents import cache_of, in_latents, scaled
from scorefield.data.readers.decoded import CachePlace
from scorefield.data.text import uncaptioned
from scorefield.denoise import Denoiser
from scorefield.latent.posterior import DEAD, StandardNormal, silent, variance_of_draws
from scorefield.nets import Autoencoder
from scorefield.run.settings import Config, fitting
from scorefield.run.stored import run_settings
from scorefield.store import digest_tensors, exists, load_weights, read_tensors
from scorefield.store.files import Tensors, write_tensors

if TYPE_CHECKING:
    from scorefield.latent import AE

NETWORKS = ("autoencoder", "mlp-autoencoder")
"""Those of pictures, series and volumes, and of vectors."""
COPY = "codec.safetensors"


class Coded(NamedTuple):
    """A run of an autoencoder that has been read: settings, info of its data, the averaged
    module."""

    path: Path
    config: Config
    info: DataInfo
    module: Autoencoder
    images_seen: int

    def task(self, data: Data) -> "AE":
        """What it learned, with its law of x given a latent."""
        return autoencoder_task(self.config, data, self.module)


def learns_codes(config: Config) -> bool:
    """Whether a run is an autoencoder's."""
    return parsed(config.objective.kind).name in names("autoencoders")


def check_autoencoder(config: Config) -> None:
    """Raise BadInput for settings of an autoencoder that do not fit."""
    bound("autoencoders", config.objective.kind)
    if (name := parsed(config.net).name) not in ("auto", *NETWORKS):
        raise BadInput(
            f"`objective.kind` {config.objective.kind} is an autoencoder's, and `net.name` is "
            f"{name}.",
            f"Use {' or '.join(NETWORKS)}.",
        )
    why = "is not of an autoencoder's training"
    out_of_place(why, codec=config.codec, compile=config.training.compile)


def coder_network(config: Config, shape: tuple[int, ...]) -> Spec:
    """The autoencoder's network; of auto the one that fits, with those options that it has."""
    return fitting(config.net, NETWORKS[not Kind.of(shape).spatial])


def build_autoencoder(config: Config, info: DataInfo) -> Autoencoder:
    """A fresh one; its weights come from the run's seed."""
    with first_weights(config.training.seed):
        return build("networks", coder_network(config, info.shape), shape=info.shape)


def autoencoder_task(config: Config, data: Data, module: Autoencoder) -> "AE":
    """What an autoencoder learns; a decoder of levels has those of the data."""
    from scorefield.likelihood.cells import cell_of

    cell, kind = cell_of(data), parsed(config.objective.kind)
    levels = {} if cell is None else {"width": cell, "low": -1.0, "high": 1.0}
    task = build("autoencoders", kind, module=module, **levels)
    if cell is None and hasattr(task.decoder, "width"):
        raise BadInput(
            f"`objective.kind` {config.objective.kind} has a decoder of levels, and "
            f"'{data.name}' is continuous.",
            "Use decoder=gaussian.",
        )
    return task


def open_autoencoder(path: str | Path) -> Coded:
    """Read the folder of an autoencoder's run, or raise BadInput that says what is wrong."""
    folder, config, info = run_settings(path)
    if not learns_codes(config):
        raise BadInput(
            f"{path} is no autoencoder: it learned {config.objective.kind}.",
            "Give a run of a recipe such as digits-autoencoder.",
        )
    module = build_autoencoder(config, info)
    (weights,), seen = folder.load("ema")
    source = folder.path / "ema.safetensors"
    load_weights(module, weights, source)
    folder.check_meaning(source)
    return Coded(folder.path, config, info, module.eval().requires_grad_(False), seen)


def begin_codec(
    config: Config, data: Data, place: CachePlace | None = None
) -> tuple[Latents, CodecInfo, Data]:
    """The codec of a run that begins, its scale found on the whole training split, and the data as
    they are trained on, mapped from what an earlier run left at a place.

    Raises BadInput for an autoencoder of other examples, or whose latents have no finite scale.
    """
    coded = open_autoencoder(cast(str, config.codec))
    if coded.info.shape != data.shape:
        raise BadInput(
            f"`codec` {config.codec} encodes examples of shape {coded.info.shape}, and the data "
            f"are of {data.shape}.",
            "Give an autoencoder of these data.",
        )
    coded.info.check_same(data if coded.info.text else uncaptioned(data), split=False)
    if "image" in data.conditions.keys or data.flip:
        what = "flips" if data.flip else "a picture beside each example"
        raise BadInput(f"`codec` is given, and the data come with {what}.", "Leave one out.")
    drawn = config.latents == "sample"
    plain = Latents(coded.module)
    cache = cache_of(place, data, plain, drawn)
    with cache.held() if cache else nullcontext():
        about = cache and cache.about
        inner = in_latents(data, plain, drawn, cache)
        scale, dead = (about["scale"], about["dead"]) if about else _measured(inner.train, config)
        if cache and not about:
            cache.settle(scale, _counts(data), scale, dead=dead)
            inner = in_latents(data, plain, drawn, cache)
        elif not cache:
            inner = replace(inner, train=scaled(inner.train, scale), test=scaled(inner.test, scale))
    weights = coded.module.state_dict()
    spec = coder_network(coded.config, coded.info.shape)
    learned = canonical("autoencoders", coded.config.objective.kind)
    shape, marked = tuple(coded.module.latent_shape), digest_tensors(weights)
    info = CodecInfo(canonical("networks", str(spec)), learned, shape, scale, marked, dead)
    return Latents(coded.module, scale), info, inner


def _measured(train: Split, config: Config) -> tuple[float, float]:
    """The scale of latents, and the fraction of their numbers that say nothing."""
    mean, std = train.x, train.std
    variance = variance_of_draws(mean, std)
    scale = variance**-0.5 if variance > 0 else float("inf")
    if not 0 < scale < float("inf"):
        raise BadInput(
            f"the latents of `codec` {config.codec} have the variance {variance:g} over the data, "
            "to which no finite scale belongs.",
            "Train the autoencoder anew, with a smaller learning rate or a smaller beta.",
        )
    return scale, float(silent(mean, std).double().mean())


def latents_of(
    data: Data, codec: Latents, said: CodecInfo, drawn: bool, place: CachePlace | None
) -> Data:
    """The data as a run on latents that goes on is trained on them."""
    cache = cache_of(place, data, codec, drawn)
    with cache.held() if cache else nullcontext():
        about = cache and cache.about
        if about and about["scale"] != codec.scale:
            cache = None  # an earlier version found it, which rounded otherwise
        inner = in_latents(data, codec, drawn, cache)
        if cache and not about:
            cache.settle(codec.scale, _counts(data), 1.0, dead=said.dead)
    return inner


def _counts(data: Data) -> dict[str, int]:
    return {"train": len(data.train), "test": len(data.test)}


def warn_dead(codec: CodecInfo) -> None:
    """Say so where the posterior has collapsed."""
    if codec.dead:
        warnings.warn(
            f"{codec.dead:.0%} of the numbers of a latent say nothing (under {DEAD:g} nats each): "
            "the posterior has collapsed there",
            stacklevel=2,
        )


def keep_codec(folder: Path, codec: Latents) -> None:
    """Write the codec's weights into the folder of a run."""
    write_tensors(folder / COPY, codec.module.state_dict())


def open_codec(folder: Path, info: DataInfo) -> Latents | None:
    """The codec of a run on latents, from the copy in its folder; None of another run.

    Raises BadInput for a copy that is missing, or of another digest than the run was trained with.
    """
    said = info.codec
    if said is None:
        return None
    source = folder / COPY
    if not exists(source):
        raise BadInput(
            f"{folder} has no {COPY}, without which its latents mean nothing.", "Restore the file."
        )
    weights: Tensors = read_tensors(source)
    if digest_tensors(weights) != said.digest:
        raise BadInput(
            f"{source} is another autoencoder than {folder} was trained with.",
            "Restore the file, or train anew in another folder.",
        )
    module = build("networks", said.net, shape=info.shape)
    load_weights(module, dict(weights), source)
    return Latents(module.eval().requires_grad_(False), said.scale)


def as_prior(coded: Coded) -> tuple[Denoiser, DataInfo]:
    """A variational autoencoder as what it is beside diffusion: a run on latents, without any
    condition, whose prior is N(0, I). BadInput of one that has no such prior."""
    name = parsed(coded.config.objective.kind).name
    if name != "vae":
        raise BadInput(
            f"{coded.path} learned {name}, which gives its latents no law: it makes no samples.",
            f"See what it keeps by scorefield reconstruct {coded.path}, or train a run on its "
            f"latents with `codec` {coded.path}.",
            "run",
        )
    shape = tuple(coded.module.latent_shape)
    denoiser = Denoiser(
        StandardNormal(), "edm", 1.0, schedule=build("schedules", "cosine"), shape=shape
    )
    denoiser.codec = Latents(coded.module)
    weights = digest_tensors(coded.module.state_dict())
    spec = str(coder_network(coded.config, coded.info.shape))
    codec = CodecInfo(spec, coded.config.objective.kind, shape, 1.0, weights, 0.0)
    bare = replace(
        coded.info, classes=(), conditions=Conditions(), present=None, sigma_data=1.0, codec=codec
    )
    return denoiser, bare


def without_conditions(data: Data) -> Data:
    """The examples alone, as a variational autoencoder knows them."""
    train, test = (replace(split, cond={}) for split in (data.train, data.test))
    bare = replace(uncaptioned(data), train=train, test=test, classes=())
    return replace(bare, conditions=Conditions(), low=0)


def check_source(config: Config, info: DataInfo) -> None:
    """Raise BadInput if the autoencoder that a run names has been trained on since it began."""
    source = Path(config.codec or "")
    if config.codec is None or info.codec is None or not exists(source / "state.json"):
        return  # the copy is enough
    now = digest_tensors(open_autoencoder(source).module.state_dict())
    if now != info.codec.digest:
        raise BadInput(
            f"`codec` {config.codec} was trained on since this run began with it.",
            "Begin anew in another `out`, or leave the autoencoder's folder elsewhere and go on "
            "with the copy.",
        )
