"""Texts as an encoder told them, kept beside the run that they were told for."""

from collections.abc import Sequence
from pathlib import Path

from scorefield.data.text import TextEncoder, TextTokens
from scorefield.store import digest_json, exists, read_tensors, write_tensors


class KeptTexts:
    """A text encoder that keeps what it made, in a folder's `text/`, by the digest of the encoder
    and the texts. Tables of words are looked up as quickly, and not kept."""

    def __init__(self, encoder: TextEncoder, folder: Path | None) -> None:
        self.encoder, self.folder, self.info = encoder, folder, encoder.info

    def __call__(self, texts: Sequence[str]) -> TextTokens:
        if self.folder is None or self.info.words:
            return self.encoder(texts)
        key = digest_json([self.info.digest, self.info.length, list(texts)])[:16]
        file = self.folder / "text" / f"{key}.safetensors"
        if exists(file):
            return TextTokens(**read_tensors(file))
        encoded = self.encoder(texts)
        write_tensors(file, encoded.leaves)
        return encoded
