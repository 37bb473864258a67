"""Networks under the names that published files give their weights: their settings, and their
contract."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, Cond
from scorefield.nets.maps import NUMBERS

_Kind = TypeVar("_Kind")
LARGEST = 100_000
"""Any size of a network."""


def net_settings(
    kind: type[_Kind], name: str, said: Mapping[str, Any],
    choices: Mapping[str, tuple[Any, ...]] | None = None,
) -> _Kind:  # fmt: skip
    """Settings of a network of that name as the dataclass of its kind, or BadInput that names the
    one at fault: strange, missing, of another type, below 0 or none of its `choices`."""
    known, hints = {f.name: f for f in fields(kind)}, get_type_hints(kind)  # type: ignore[arg-type]
    whole = {key: tuple(value) if isinstance(value, list) else value
             for key, value in said.items() if key != "_class_name"}  # fmt: skip
    for key, value in whole.items():
        if key not in known:
            raise BadInput(
                f"{name} has {key} {value!r}.", "Only what its paper has can be honoured."
            )
        some = (choices or {}).get(key)
        if value not in some if some else not _right(value, hints[key]):
            raise BadInput(f"{name} has {key} {value!r}.", "Restore the file.")
    for key, field in known.items():
        if key not in whole and field.default is MISSING:
            raise BadInput(f"{name} lacks {key}.", "Restore the file.")
    return kind(**whole)


def _right(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type, and no number below 0 or beyond all."""
    parts = get_args(hint)
    if isinstance(hint, UnionType):
        return any(_right(value, part) for part in parts)
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_right(each, parts[0]) for each in value)
    if hint is Any:
        return True
    if hint in (NoneType, str):
        return type(value) is hint
    kinds = (int, float) if hint is float else (hint,)
    return type(value) in kinds and 0 <= value <= LARGEST


class PublishedNet(Protocol):
    """A network: x (B, C, H, W), told (B,), and of each sample a one at its class, or none of a
    sample without, (B, classes); what it says, as large as x."""

    kind: str
    classes: int
    knows_none: bool
    """Whether it was trained on samples without their class."""

    def __call__(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor: ...


class Labelled(nn.Module):
    """Such a network behind the contract net(x, told, cond) -> F.

    Raises BadInput for a sample without class, where it was never trained without.
    """

    timed = True

    def __init__(self, model: PublishedNet) -> None:
        super().__init__()
        self.model = model
        self.reads_null = not model.classes or model.knows_none

    def forward(self, x: Tensor, c_noise: Tensor, cond: Cond | None = None) -> Tensor:
        cond = {key: leaf for key, leaf in (cond or {}).items() if key not in NUMBERS}
        count, none = self.model.classes, cond.get("null")
        if not count:
            return self.model(x, c_noise)
        if "label" not in cond and none is None:
            none = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
        if none is not None and not self.reads_null and bool(none.any()):
            raise BadInput(
                f"{self.model.kind} was told a class of every sample, and does not know what none "
                "is.",
                "Give `labels`, and no guidance that asks without them.",
            )
        label = cond.get("label", torch.zeros(x.shape[0], dtype=torch.int64, device=x.device))
        one = F.one_hot(label, count).to(x)
        return self.model(x, c_noise, one if none is None else one * ~none[:, None])
