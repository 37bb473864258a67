"""Between two pictures along the latents of a flow, or from one along what tells a class from
another."""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.finding import Figure, Findings, Strip
from scorefield.likelihood import direction, lerp, slerp
from scorefield.measure.quality import rms_all
from scorefield.run.open import Run, data_of, device
from scorefield.solve.loop import rms
from scorefield.store import Folder
from scorefield.store.digest import digest
from scorefield.store.files import meaning_of, read_tensors, to_bytes, write_tensors
from scorefield.use.asked import at_least, given_examples, idle, label_for, labels_of
from scorefield.use.encode import Way
from scorefield.use.request import Request

ATTRIBUTE = 200
"""Training examples of each class that a direction is the difference of, at most."""
ROUGH = 0.05
"""RMS of what the ends come back off by, from which on it is worth a warning."""


class Towards(NamedTuple):
    """Where to, in words: `between` pictures on to `end`, or `strength` times the direction of the
    `attribute`."""

    end: str | None = None
    attribute: str | None = None
    strength: float | None = None
    between: int = 8
    mode: Literal["slerp", "lerp"] = "slerp"

    def check(self) -> None:
        at_least("between", self.between)
        if (self.end is None) == (self.attribute is None):
            raise BadInput("interpolate needs one of `to` and `attribute`.", "Give one of them.")
        if self.attribute is None:
            idle("strength", self.strength, "it is of `attribute`", 1.0)
        else:
            idle("mode", self.mode, "a direction is added straight", "slerp")


def interpolate(request: Request, text: str, course: Towards) -> Findings:
    """A strip from each of the examples `text` on a course, by the flow of the run: x in the data's
    units, and `share` of the course."""
    course.check()
    request = request.exact()
    out, run, way = request.place("strip.png", ".png", ".npz"), request.opened, Way.of(request)
    start = request.mean.encode(given_examples(run, text, "from")[0])
    n, of = len(start), label_for(request.label, None, len(start), run.info.classes)
    fraction, ends = torch.linspace(0, 1, course.between + 2), start
    if course.end is not None:
        end = request.mean.encode(given_examples(run, course.end, "to")[0])
        if len(end) != n:
            fact = f"`from` has {n} examples and `to` {len(end)}."
            raise BadInput(fact, "Give as many of each.", "to")
        ends = torch.cat((start, end))
        first, last = way.up(ends, None if of is None else of.repeat(2), request.watch).chunk(2)
        z = (slerp if course.mode == "slerp" else lerp)(first, last, fraction)
    else:
        strength = 1.0 if course.strength is None else course.strength
        first, towards = way.up(start, of), _direction(request, way, str(course.attribute))
        z = first + (strength * fraction).reshape(-1, *(1,) * first.ndim) * towards
    many = None if of is None else of.repeat_interleave(len(fraction))
    x0 = way.down(z.transpose(0, 1).flatten(0, 1), many, request.watch)  # strip by strip
    back = x0.unflatten(0, (n, len(fraction)))
    back = back[:, 0] if course.end is None else torch.cat((back[:, 0], back[:, -1]))
    off = rms_all(rms(back - ends))
    if off > ROUGH:
        warnings.warn("the ends do not come back as they went: take more `steps`", stacklevel=2)
    mode, seen = course.mode if course.end is not None else "attribute", request.mean.decode(x0)
    record = {"out": str(out), "strips": n, "pictures": len(fraction), "mode": mode}
    captions = tuple(f"{value:.2g}" for value in fraction.tolist()) * n
    name, key = "the ends come back within", "round_trip_rms"
    items = (
        Figure(name, off, best="low", words="RMS.", key=key),
        Strip("Strips", seen, len(fraction), captions=captions),
    )
    arrays = {"x": run.info.scaling.decode(seen), "share": fraction.repeat(n)}
    how = f"{n} x {len(fraction)} pictures: {out}"
    return Findings(
        "interpolate", str(request.run), how, items, {**record, "calls": way.calls}, arrays
    )


def _direction(request: Request, way: Way, attribute: str) -> Tensor:
    """Mean latent of class A less that of class B, over training examples."""
    classes = request.opened.info.classes
    pair = labels_of(attribute, classes, "attribute")
    if len(pair) != 2 or pair[0] == pair[1]:
        fact = f"`attribute` is {attribute}."
        raise BadInput(fact, "Give two classes, such as `attribute` 8,3.", "attribute")
    data = data_of(request.opened, split=False)
    own = data.train.cond["label"]
    index = torch.cat([(own == k).nonzero().flatten()[:ATTRIBUTE] for k in pair])
    has = own[index] == pair[0]
    if has.all() or not has.any():
        fact = f"the training data have no example of one of the classes {attribute}."
        raise BadInput(fact, "Give two classes that they have.", "attribute")
    of, run = label_for(request.label, None, len(index), classes), request.opened
    file = run.path / "interpolate" / f"{pair[0]}-{pair[1]}.safetensors"
    x0 = way.denoiser.encode(data.batch(data.train, index)[0])
    return direction(_kept(file, run, way, x0, of), has)


def _kept(file: Path, run: Run, way: Way, x0: Tensor, label: Tensor | None) -> Tensor:
    """Latents of x0, from a file that was written of the same weights, data and plan if there is
    one, and else found and written. It is no more than time: one that cannot be read is found anew,
    and nothing is written where nothing can be."""
    follows = {**run.denoiser.state_dict(), "_x0": x0, **({} if label is None else {"_y": label})}
    how = repr((Folder(run.path).meaning(), way.plan, way.batch, torch.__version__, device()))
    meaning = digest(to_bytes(follows) + how.encode())
    with suppress(BadInput):
        if meaning_of(file) == meaning:
            return read_tensors(file)["z"]
    z = way.up(x0, label)
    with suppress(BadInput):
        write_tensors(file, {"z": z}, meaning)
    return z
