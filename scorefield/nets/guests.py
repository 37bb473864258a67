"""Networks of diffusers behind the contract net(x, told, cond) -> F. They are told a timestep.

A guest is built of the settings that its own config.json holds, from classes of the installed
package alone; what else the settings say is kept and never run. diffusers is imported when one is
built, which takes some seconds.
"""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scorefield.base import BadInput, Cond, unknown
from scorefield.base.extras import library
from scorefield.nets.maps import NUMBERS

_Settings = Mapping[str, Any]


class Reads(NamedTuple):
    """What a kind of guest reads besides x and its timestep: (settings' key of the size, or None)
    for each condition."""

    label: str | None = None
    tokens: str | None = None
    vector: str | None = None


GUESTS = {
    "UNet2DModel": Reads(label="num_class_embeds"),
    "DiTTransformer2DModel": Reads(label="num_embeds_ada_norm"),
    "UNet2DConditionModel": Reads(tokens="cross_attention_dim"),
    "SD3Transformer2DModel": Reads(tokens="joint_attention_dim", vector="pooled_projection_dim"),
    "FluxTransformer2DModel": Reads(tokens="joint_attention_dim", vector="pooled_projection_dim"),
}
REFUSED = {
    "UNet2DModel": {"time_embedding_type": ("positional",), "class_embed_type": (None,)},
    "UNet2DConditionModel": {
        "addition_embed_type": (None,), "class_embed_type": (None,), "encoder_hid_dim": (None,),
        "time_embedding_type": ("positional",), "time_cond_proj_dim": (None,),
        "num_class_embeds": (None,),
    },
}  # fmt: skip
"""_Settings that may have these values alone."""


def built(kind: str, settings: _Settings) -> nn.Module:
    """The network of a class and its settings. _Settings that the class does not take are left
    out, and some values that would mean something else here are refused by name."""
    if kind not in GUESTS:
        raise unknown("network", kind, GUESTS)
    for key, known in REFUSED.get(kind, {}).items():
        if settings.get(key, known[0]) not in known:
            raise BadInput(
                f"{kind} has {key} {settings[key]!r}, which cannot be honoured here.",
                f"Only {' or '.join(map(repr, known))} can.",
            )
    made = getattr(library("diffusers"), kind)
    taken = inspect.signature(made.__init__).parameters
    given = {key: value for key, value in settings.items() if key in taken}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return made(**given)
    except Exception as error:  # whatever the library says of settings that do not go together
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise BadInput(
            f"{kind} cannot be built of its settings: {first[0][:200]}.", "Restore its config.json."
        ) from error


class Guest(nn.Module):
    """A network of diffusers with the text encoder before it, if it has one.

    `model` is the network; `text` makes features of cond["tokens"] where they are ids. A sample
    without condition is told `null`: the class of that index, or the tokens and the vector kept
    in `null_tokens` and `null_vector` (which are weights: saved with the others).

    Raises BadInput for a condition that it cannot do without and does not get.
    """

    timed = True

    def __init__(
        self,
        kind: str,
        settings: _Settings,
        null: int | None = None,
        text: nn.Module | None = None,
        empty: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.settings, self.null = kind, dict(settings), null
        self.model, self.text = built(kind, settings), text
        self.shape = shape_of(settings, kind)
        for key, size in (empty or {}).items():
            whole = key == "tokens" and text is not None
            kept = torch.zeros(tuple(size), dtype=torch.int64 if whole else torch.float32)
            self.register_buffer(f"null_{key}", kept)
        self.empty = tuple(empty or ())
        self.doubled = settings.get("out_channels", self.shape[0]) == 2 * self.shape[0]

    @property
    def reads_null(self) -> bool:
        """Whether it knows what no condition is."""
        return self.null is not None or bool(self.empty)

    def forward(self, x: Tensor, c_noise: Tensor, cond: Cond | None = None) -> Tensor:
        cond = {key: leaf for key, leaf in (cond or {}).items() if key not in NUMBERS}
        given = {key: self._read(key, x, cond) for key in ("label", "tokens", "vector")
                 if cond_size(self.kind, self.settings, key)}  # fmt: skip
        weights = next(self.model.parameters())
        if self.text is not None and "tokens" in given:
            given["tokens"] = self.text(given["tokens"])[0]
        given = {k: v.to(weights.dtype) if v.is_floating_point() else v for k, v in given.items()}
        out = CALLS[self.kind](self.model, x.to(weights.dtype), c_noise, given)
        return out.to(x.dtype)

    def _read(self, key: str, x: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """A condition, with what stands for none in the rows that have none."""
        none = cond.get("null")
        if key in cond and none is None:
            return cond[key]
        if none is None or key not in cond:
            none = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
        if key == "label" and self.null is not None:
            empty = torch.full((x.shape[0],), self.null, device=x.device)
        elif key in self.empty:
            kept = getattr(self, f"null_{key}")
            empty = kept.expand(x.shape[0], *kept.shape)
        else:
            raise BadInput(
                f"{self.kind} was told a {key} of every sample, and does not know what none is.",
                f"Give '{key}', and no guidance that asks without it.",
            )
        value = cond.get(key, empty).to(empty) if key != "label" else cond.get(key, empty)
        if value.shape != empty.shape:
            raise BadInput(
                f"'{key}' has shape {tuple(value.shape)}, and that of no condition "
                f"{tuple(empty.shape)}.",
                "Pad sequences to that length.",
            )
        return torch.where(none.view(-1, *(1,) * (value.ndim - 1)), empty, value)


def cond_size(kind: str, settings: _Settings, key: str) -> int | None:
    """Of a condition that a network reads: how many classes, features or entries."""
    name = getattr(GUESTS[kind], key)
    return settings.get(name, _default(kind, name)) if name else None


def _default(kind: str, name: str) -> Any:
    return inspect.signature(getattr(library("diffusers"), kind).__init__).parameters[name].default


def shape_of(settings: _Settings, kind: str) -> tuple[int, int, int]:
    """(C, H, W) of one sample, or BadInput where the settings do not say."""
    channels = settings.get("in_channels", _default(kind, "in_channels"))
    if kind == "FluxTransformer2DModel":
        channels, size = channels // 4, settings.get("sample_size", 128)
    else:
        size = settings.get("sample_size", _default(kind, "sample_size"))
    sides = [size, size] if isinstance(size, int) else list(size or ())
    if not isinstance(channels, int) or len(sides) != 2 or min(channels, *sides) < 1:
        raise BadInput(
            f"{kind} says sample_size {size!r} and in_channels {channels!r}.",
            "Write both into its config.json.",
        )
    return channels, int(sides[0]), int(sides[1])


def _unet(model: Any, x: Tensor, c_noise: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    return model(x, c_noise, class_labels=given.get("label"), return_dict=False)[0]


def _text_unet(model: Any, x: Tensor, c_noise: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    return model(x, c_noise, encoder_hidden_states=given["tokens"], return_dict=False)[0]


def _sd3(model: Any, x: Tensor, c_noise: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    return model(
        hidden_states=x, timestep=c_noise, encoder_hidden_states=given["tokens"],
        pooled_projections=given["vector"], return_dict=False,
    )[0]  # fmt: skip


def _flux(model: Any, x: Tensor, c_noise: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    """Squares of 2 x 2 are one token, told its row and column; time runs from 0 to 1."""
    batch, channels, height, width = x.shape
    squares = x.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    place = torch.zeros(height // 2, width // 2, 3, device=x.device, dtype=x.dtype)
    place[..., 1] += torch.arange(height // 2, device=x.device)[:, None]
    place[..., 2] += torch.arange(width // 2, device=x.device)
    guidance = torch.full_like(c_noise, 3.5) if model.config.guidance_embeds else None
    out = model(
        hidden_states=squares.reshape(batch, -1, 4 * channels), timestep=c_noise / 1000,
        encoder_hidden_states=given["tokens"], pooled_projections=given["vector"],
        img_ids=place.flatten(0, 1), txt_ids=place.new_zeros(given["tokens"].shape[1], 3),
        guidance=guidance, return_dict=False,
    )[0]  # fmt: skip
    out = out.view(batch, height // 2, width // 2, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return out.reshape(batch, -1, height, width)


CALLS = {
    "UNet2DModel": _unet,
    "DiTTransformer2DModel": _unet,
    "UNet2DConditionModel": _text_unet,
    "SD3Transformer2DModel": _sd3,
    "FluxTransformer2DModel": _flux,
}


def _fits(shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) != 3 or shape[1] != shape[2]:
        raise BadInput(f"shape is {tuple(shape)}.", "These networks read square pictures.")
    return shape[0], shape[1]


def unet2d(
    shape: Sequence[int],
    *,
    width: int = 64,
    multipliers: Sequence[int] = (1, 2, 2),
    blocks: int = 2,
    head_dim: int = 8,
    groups: int = 8,
    classes: int | None = None,
    out_channels: int | None = None,
    dropout: float = 0.0,
) -> Guest:
    """diffusers' UNet2DModel, whose weights any program with diffusers loads: `scorefield export`.

    Attention at the last level; one class more than `classes` stands for none. It is told a
    timestep, so it trains on the schedules ddpm (view eps or v), flow (flow) and edm (edm). It has
    no zero layers at its start: F begins as noise of its own.
    """
    channels, size = _fits(shape)
    last = len(multipliers) - 1
    settings = {
        "sample_size": size, "in_channels": channels, "out_channels": out_channels or channels,
        "layers_per_block": blocks, "block_out_channels": [width * m for m in multipliers],
        "down_block_types": ["DownBlock2D"] * last + ["AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D"] + ["UpBlock2D"] * last,
        "attention_head_dim": head_dim, "norm_num_groups": groups, "dropout": dropout,
        "num_class_embeds": None if classes is None else classes + 1,
    }  # fmt: skip
    return Guest("UNet2DModel", settings, classes)


def dit2d(
    shape: Sequence[int],
    *,
    heads: int = 4,
    head_dim: int = 16,
    depth: int = 4,
    patch: int = 2,
    classes: int | None = None,
    out_channels: int | None = None,
) -> Guest:
    """diffusers' DiTTransformer2DModel, as `unet2d`. Without classes it knows one, and none."""
    channels, size = _fits(shape)
    known = classes or 1
    settings = {
        "sample_size": size, "in_channels": channels, "out_channels": out_channels or channels,
        "num_layers": depth, "num_attention_heads": heads, "attention_head_dim": head_dim,
        "patch_size": patch, "num_embeds_ada_norm": known, "norm_type": "ada_norm_zero",
    }  # fmt: skip
    return Guest("DiTTransformer2DModel", settings, known)
