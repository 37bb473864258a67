"""The words of a run: what its captions and prompts are told as, worked out once and kept."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from scorefield.base import BadInput
from scorefield.catalogue.spec import build
from scorefield.data import Data
from scorefield.data.readers.kept import KeptTexts
from scorefield.data.readers.pipeline import HEAD, PipelineText
from scorefield.data.text import TextEncoder, TextInfo, WordTable, prompted, spoken


def encoder_of(info: TextInfo) -> TextEncoder:
    """The text encoder of a run, or BadInput if it is another by now."""
    if info.words:
        return WordTable(info)
    if info.encoder.startswith(HEAD):
        found = PipelineText(Path(info.encoder.removeprefix(HEAD)), info.length)
    else:
        found = build("texts", info.encoder, length=info.length)
    if found.info.digest != info.digest:
        raise BadInput(
            f"the text encoder {info.encoder} is of {found.info.digest}, and that of the run was "
            f"of {info.digest}.",
            "Put the one that the run was trained with in its place.",
        )
    return found


def with_tokens(data: Data, spec: str, folder: Path | None = None) -> Data:
    """Data whose captions are told as the tokens of a text encoder."""
    if not data.captions:
        raise BadInput(
            f"`data.text` is {spec}, and '{data.name}' has no captions.",
            "Leave it out, or write captions: name.txt beside name.png, metadata.jsonl or "
            "captions.csv.",
        )
    encoder = build("texts", spec, captions=data.captions)
    return spoken(data, encoder.info, KeptTexts(encoder, folder)(data.captions))


def prompt_cond(
    info: TextInfo | None, folder: Path, texts: Sequence[str], less: str | None
) -> dict[str, Tensor]:
    """Prompts, and what shall not be, as conditions of a run (`data.text.prompted`)."""
    if info is None:
        raise BadInput(
            "a `prompt` was given, and the run was trained without captions.",
            "Leave it out, or train with `data.text` on data with captions.",
            "prompt",
        )
    return dict(prompted(KeptTexts(encoder_of(info), folder), texts, less))
