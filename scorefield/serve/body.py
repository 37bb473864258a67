"""What a request may say. Each field is used, or refused with a fact and a remedy."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from scorefield.base import BadInput, unknown
from scorefield.base.errors import exclusive
from scorefield.data.kind import PICTURE
from scorefield.data.readers.pictures import open_picture
from scorefield.run.open import Run
from scorefield.use.request import Request

MOST = 64
"""Samples of one request."""
PIXELS = 4096 * 4096
"""Of a picture that is sent, however small its file."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Class = Annotated[int, Field(ge=0)] | Text
LongText = Annotated[str, Field(max_length=4000)]
Base64 = Annotated[str, Field(min_length=1)]


class Body(BaseModel):
    """Strict: true is no number, "3" is no count, and an unknown field is refused."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Error(BaseModel):
    """What went wrong, and of which field, as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str | None


class Fault(BaseModel):
    """Any end but an answer."""

    error: Error


class Sampler(Body):
    """Which run makes samples, and how."""

    model: Text | None = None
    """Which run, by the name of its folder (the first, unless it is said)."""
    seed: Seed | None = None
    """The first of n seeds in a row (0)."""
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Steps of the solver (the run's own)."""
    solver: Text | None = None
    """A solver's spec, such as heun:churn=.3."""
    grid: Text | None = None
    """A grid's spec, such as karras:rho=5, or the name of one that was fitted to the run."""
    guidance: Annotated[float, Field(ge=-100, le=100)] | None = None
    """Scale of classifier-free guidance; 1 is none."""


class Common(Sampler):
    """What every verb takes, by the names of the flags."""

    n: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """How many (as many as seeds or labels, or 1)."""
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=MOST)] | None = None
    """Seeds, one each."""
    label: Class | None = None
    """The class of all, by number or name."""
    labels: Annotated[list[Class], Field(min_length=1, max_length=MOST)] | None = None
    """Classes, in turn."""
    prompt: LongText | None = None
    """A text for a run that reads some; else names of classes, with commas between them."""
    average: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Length of an average of the weights that scorefield ema made (that of training)."""
    precision: Literal["fp32", "bf16"] | None = None
    """Arithmetic of the network: that in which the run is served."""
    previews: Annotated[int, Field(ge=1, le=1000)] | None = None
    """In a stream of events, a picture of D after every so many steps."""
    priority: Annotated[int, Field(ge=-2, le=2)] = 0
    """Each step up counts work as a quarter; nobody waits for ever."""
    deadline: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Seconds after which the answer is wanted no more."""
    format: Literal["png", "wav", "text", "x"] | None = None
    """Pictures (with how they were made), sounds, texts or the rows of a table, or numbers in the
    units of the data."""

    def request(self, run: Run, **more: Any) -> Request:
        """The same, as it is asked of a run on the command line."""
        if self.precision not in (None, run.denoiser.precision):
            fact = f"`precision` is {self.precision}, and the run is served in "
            raise BadInput(f"{fact}{run.denoiser.precision}.", "Leave it out.", "precision")
        if self.prompt is not None and run.info.text and "prompt" not in more:
            fact = "`prompt` is a text, and samples alone are told one."
            raise BadInput(fact, "Leave it out.", "prompt")
        labels, seeds = self._classes(run), self._seeds()
        n = self.n or len(seeds or labels or self.rows)
        if seeds is None:
            first = self.seed or 0
            seeds = list(range(first, first + n))
        request = Request(
            run, n=n, seeds=",".join(map(str, seeds)), steps=self.steps, solver=self.solver,
            labels=None if labels is None else ",".join(map(str, labels)), grid=self.grid,
            guidance=self.guidance, average=self.average, **more,
        )  # fmt: skip
        grid = request.grid or ""  # also that of a solver that is a whole plan
        if set(grid) & set("/\\") or grid.endswith(".json"):
            raise BadInput(f"`grid` is {grid}.", "Give a name, not a place.", "grid")
        return request

    @property
    def rows(self) -> Sequence[Any]:
        """As many as there are samples, unless it is said."""
        return [0]

    def _seeds(self) -> list[int] | None:
        exclusive("seed", self.seed, seeds=self.seeds)
        return self.seeds

    def _classes(self, run: Run) -> list[int] | None:
        exclusive("label", self.label, labels=self.labels)
        named = None if run.info.text else self.prompt
        exclusive("prompt", named, label=self.label if self.labels is None else self.labels)
        said: list[int | str] | None = self.labels
        if self.label is not None:
            said = [self.label]
        elif named is not None:
            said = [word.strip() for word in named.split(",")]
        return None if said is None else [index(each, run) for each in said]


Row = dict[Text, Annotated[str, Field(max_length=200)] | int | float | None]
"""Cells of a table by their columns."""


class SamplesBody(Common):
    """Samples."""

    conditions: dict[Text, list[Any]] | None = None
    """Rows of y, vector, image or tokens, as in the file that the run was trained on."""
    negative: LongText | None = None
    """What the samples of a `prompt` shall not show."""
    unconditional: bool = False
    """Without any class or other condition."""
    prompts: Annotated[list[LongText], Field(min_length=1, max_length=MOST)] | None = None
    """Texts, in turn."""
    fill: LongText | Annotated[list[Row], Field(min_length=1, max_length=MOST)] | None = None
    """A text with _ where a run of letters is to fill in; of a table, rows whose missing or null
    cells it fills in."""
    cascade: Text | None = None
    """A run that makes the samples larger, by its name here."""
    augment: Annotated[float, Field(ge=0, le=1)] | None = None
    """How far what that is shown is noised (.1)."""
    guide: Text = "cfg"
    """A guide's spec, such as cfg:2+interval:.3,2, or classifier."""
    between: Annotated[int, Field(ge=1, le=MOST - 2)] | None = None
    """So many samples between those of two seeds, along the arc between their noises."""
    views: Text | None = None
    """An anagram: views such as identity,rotate:180, each of which shows its label."""

    @property
    def rows(self) -> Sequence[Any]:
        some = next(iter((self.conditions or {}).values()), None)
        return some or (self.fill if isinstance(self.fill, list) else self.prompts) or [0]


class EditBody(Common):
    """Edits of a picture."""

    image: Base64
    """A picture file in base64; its middle square is resized to the model's."""
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    """How far it goes from the picture (.6, or 1 with a mask)."""
    mask: Base64 | None = None
    """A picture in base64: white where the other may change."""


class RestoreBody(Common):
    """Restorations of what was measured of a picture."""

    operator: Text
    """What was measured, such as box:2,2,4,4 or pool:2."""
    image: Base64
    """The picture, in base64, of which it is measured here."""
    noise: Annotated[float, Field(ge=0, le=10)] = 0.05
    """Standard deviation of the measurement's noise; data lie in [-1, 1]."""
    method: Text = "dps"
    """By which method."""


class ImagesBody(Sampler):
    """What clients of OpenAI's images send, and the settings of a sampler beside it."""

    prompt: LongText
    """A text for a run that reads some; else names of classes, with commas between them."""
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: Text | None = None
    """The run's own, as 8x8, or auto."""
    response_format: Literal["b64_json", "url"] = "b64_json"
    user: Annotated[str, Field(max_length=200)] | None = None
    """Of the caller's own books; nothing is done with it."""

    def samples(self, run: Run) -> SamplesBody:
        """The same in our words."""
        shape = run.info.shape
        PICTURE.check(shape, "images are")
        own = f"{shape[2]}x{shape[1]}"
        if self.size not in (None, "auto", own):
            fact = f"`size` is {self.size}, and the run makes {own}."
            raise BadInput(fact, "Give auto, or leave it out.", "size")
        names = {*Sampler.model_fields, "n", "prompt"}
        return SamplesBody(**self.model_dump(include=names), format="png")


def index(label: int | str, run: Run) -> int:
    """The number of a class, by that or its name."""
    classes = list(run.info.classes)
    if not classes:
        raise BadInput("a class was given, but this model has none.", "Leave it out.", "label")
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    if isinstance(label, str):
        if not (label.isascii() and label.isdecimal()):
            raise unknown("class", label, classes, "label")
        label = int(label)
    if label >= len(classes):
        fact = f"label {label} is none of the model's, which are 0 to {len(classes) - 1}."
        raise BadInput(fact, f"Or give a name, such as {', '.join(classes[:3])}.", "label")
    return label


def picture_bytes(text: str, field: str) -> bytes:
    """The file of a picture that was sent in base64, if it is none that grows beyond bounds."""
    try:
        content = base64.b64decode(text.partition("base64,")[2] or text, validate=True)
        with open_picture(content) as opened:
            width, height = opened.size
    except binascii.Error as error:
        raise BadInput(f"`{field}` is no base64.", "Encode the file's bytes.", field) from error
    except Exception as error:  # whatever the picture library raises of a damaged file
        fact = f"`{field}` cannot be read as a picture."
        raise BadInput(fact, "Give a whole one, such as a PNG.", field) from error
    if width * height > PIXELS:
        fact = f"`{field}` has {width} x {height} pixels."
        raise BadInput(fact, f"Give at most {PIXELS:,} of them.", field)
    return content
