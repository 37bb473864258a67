"""The text encoders that the folder of a pipeline holds: a prompt, as its network reads it.

With h the last states of an encoder, h' those of the layer before, p what it says of a whole text:

    UNet2DConditionModel     tokens = ids of CLIP, whose encoder is a part of the run's network
    SD3Transformer2DModel    tokens = [[h'_1, h'_2, 0], h_T5], vector = [p_1, p_2]           (eq. 1)
    FluxTransformer2DModel   tokens = h_T5, vector = p_CLIP                                  (eq. 2)

of CLIP's two encoders 1 and 2, states side by side and filled up with zeros to T5's width (Esser et
al. 2024, arXiv:2403.03206, sec. 4; no T5: zeros). A text is filled up to one length by its
tokenizer, and what fills it up is read, as it was in training. "" is what stands for no prompt.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, unknown
from scorefield.base.extras import library
from scorefield.data.text import TextInfo, TextTokens, warn_cut
from scorefield.store import (
    check_published_sizes,
    digest_files,
    files,
    fitted,
    read_json,
    read_weights,
    short,
)

ENCODERS = {"CLIPTextModel": "CLIPTextConfig", "CLIPTextModelWithProjection": "CLIPTextConfig",
            "T5EncoderModel": "T5Config"}  # fmt: skip
TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast")
HEAD = "pipeline:path="
PARTS = ("tokenizer", "text_encoder")
READ = (".json", ".txt", ".model", ".safetensors")


class Layout(NamedTuple):
    """Encoders of a pipeline by the ends of their names: CLIP's, and T5's with its tokens."""

    clip: tuple[str, ...]
    t5: str | None = None
    length: int = 0


LAYOUTS = {
    "UNet2DConditionModel": Layout(("",)),
    "SD3Transformer2DModel": Layout(("", "_2"), "_3", 256),
    "FluxTransformer2DModel": Layout(("",), "_2", 512),
}


def encoder(settings: Mapping[str, Any]) -> nn.Module:
    """A text encoder of transformers, by its settings, with fresh weights."""
    (kind,) = settings.get("architectures") or ["none"]
    if kind not in ENCODERS:
        raise unknown("text encoder", str(kind), ENCODERS)
    check_published_sizes(settings, str(kind))
    transformers = library("transformers")
    try:
        made = getattr(transformers, kind)(getattr(transformers, ENCODERS[kind])(**settings))
    except Exception as error:  # whatever it says of settings that do not go together
        raise BadInput(
            f"{kind} cannot be built of its settings: {str(error).strip()[:200]}.",
            "Restore its config.json.",
        ) from error
    return made.eval()


def named_now(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as transformers has had them since 5; buffers that older ones kept are left out."""
    head, found = "text_model.", dict[str, Tensor]()
    for name, tensor in weights.items():
        if "position_ids" not in name:
            bare = name.removeprefix(head)
            found[bare if bare in wanted else name] = tensor
    return found


def read_encoder(folder: Path) -> nn.Module:
    """The encoder in a folder, with its weights, all of them and no others."""
    net = encoder(read_json(folder / "config.json"))
    wanted = net.state_dict(keep_vars=True)
    net.load_state_dict(fitted(wanted, named_now(read_weights(folder), wanted), str(folder)))
    return net.requires_grad_(False)


class PipelineText:
    """Prompts to what the network of a pipeline's folder reads. Each text goes through the encoders
    by itself. Tokenizers and encoders are opened when the first text comes.

    Raises BadInput for a part that is none of CLIP's or T5's, whose code is not run.
    """

    def __init__(self, folder: Path, length: int | None = None) -> None:
        self.folder = folder
        index = read_json(folder / "model_index.json")
        name = next((part for part in ("unet", "transformer") if part in index), "unet")
        net = read_json(folder / name / "config.json")
        self.kind = str(net.get("_class_name"))
        if self.kind not in LAYOUTS:
            raise unknown("network with prompts", self.kind, LAYOUTS)
        self.layout = LAYOUTS[self.kind]
        self.ends = [*self.layout.clip]
        if self.layout.t5 and _given(index, f"text_encoder{self.layout.t5}"):
            self.ends.append(self.layout.t5)
        self.tokenizers = dict[str, str]()
        for end in self.ends:
            home, kind = index.get(f"tokenizer{end}") or ("no library", "none")
            if home != "transformers" or kind not in TOKENIZERS:
                raise unknown("tokenizer", f"{kind} of {home}", TOKENIZERS)
            self.tokenizers[end] = kind
        kept = PARTS[: 2 if self.layout.t5 else 1]
        self.parts = [f"{part}{end}" for end in self.ends for part in kept]
        digest = short(digest_files(self.files))
        self.width: int | None = net.get("joint_attention_dim", 4096) if self.layout.t5 else None
        usual = self.layout.length or self._most("")
        self.info = TextInfo(f"{HEAD}{folder.resolve()}", length or usual, self.width, digest)
        self._opened: dict[str, Any] = {}

    @property
    def files(self) -> list[Path]:
        """All that it reads, which none but JSON, text and safetensors are."""
        found = (file for part in self.parts for file in files(self.folder / part, "*"))
        return [file for file in found if file.suffix in READ]

    @staticmethod
    def reads(folder: Path, index: Mapping[str, Any], network: str) -> bool:
        """Whether a folder has what turns words into the conditions of its network."""
        if network not in LAYOUTS:
            return False
        parts = (f"{part}{end}" for end in LAYOUTS[network].clip for part in PARTS)
        return all(_given(index, part) for part in parts)

    def _most(self, end: str) -> int:
        """Places that the encoder of CLIP has."""
        said = read_json(self.folder / f"text_encoder{end}" / "config.json")
        if said.get("use_attention_mask"):
            raise BadInput(f"text_encoder{end} of {self.folder} has use_attention_mask true.",
                           "Only false can be honoured.")  # fmt: skip
        check_published_sizes(said, str(self.folder / f"text_encoder{end}"))
        return said.get("max_position_embeddings", 77)

    def _part(self, name: str, make: Any) -> Any:
        if name not in self._opened:
            self._opened[name] = make()
        return self._opened[name]

    def _tokenizer(self, end: str) -> Any:
        """Of files of JSON and text alone: the class is of the installed package."""
        where = self.folder / f"tokenizer{end}"
        made = getattr(library("transformers"), self.tokenizers[end].removesuffix("Fast"))
        try:
            return made.from_pretrained(where, local_files_only=True)
        except Exception as error:  # whatever it says of its files
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise BadInput(f"{where} is no tokenizer: {first[:160]}.", "Restore it.") from error

    def _ids(self, text: str, end: str, length: int) -> Tensor:
        """(1, length), filled up and cut."""
        own = self._part(f"tokenizer{end}", lambda: self._tokenizer(end))
        if (count := len(own(text).input_ids)) > length:
            warn_cut(count, length, text)
        ids = own(text, padding="max_length", max_length=length, truncation=True).input_ids
        return torch.tensor([ids])

    def _said(self, text: str, end: str, length: int) -> Any:
        where = self.folder / f"text_encoder{end}"
        net = self._part(f"text_encoder{end}", lambda: read_encoder(where))
        return net(self._ids(text, end, length), output_hidden_states=True)

    def __call__(self, texts: Sequence[str]) -> TextTokens:
        with torch.no_grad():
            encoded = [self._encoded(text) for text in texts]
        tokens, *vector = (torch.cat(rows) for rows in zip(*encoded))
        return TextTokens(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), *vector)

    def _encoded(self, text: str) -> tuple[Tensor, ...]:
        """Tokens, and the vector if there is one."""
        length, t5 = self.info.length, self.layout.t5
        if t5 is None:
            return (self._ids(text, "", length),)
        clip = [self._said(text, end, self._most(end)) for end in self.layout.clip]
        states = torch.zeros(1, length, self.width or 1)
        if t5 in self.ends:
            states = self._said(text, t5, length).last_hidden_state
        if self.kind.startswith("Flux"):
            return states, clip[0].pooler_output
        both = torch.cat([said.hidden_states[-2] for said in clip], -1)
        wide = F.pad(both, (0, states.shape[-1] - both.shape[-1]))
        return torch.cat([wide, states], 1), torch.cat([said.text_embeds for said in clip], -1)


def _given(index: Mapping[str, Any], part: str) -> bool:
    return isinstance(index.get(part), list) and None not in index[part]
