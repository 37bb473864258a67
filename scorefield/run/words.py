"""The words of a run: what its captions and prompts are told as, worked out once and kept."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from scorefield.base import BadInput
from scorefield.catalogue.spec import build
from scorefield.data import Data
from scorefield.data.readers.kept import KeptTexts
from scorefield.data.readers.pipeline import HEAD, PipelineText
from scorefield.data.text import TextEncoder, TextFacts, WordTable, prompted, spoken


def encoder_of(facts: TextFacts) -> TextEncoder:
    """The text encoder of a run, or BadInput if it is another by now."""
    if facts.words:
        return WordTable(facts)
    if facts.encoder.startswith(HEAD):
        found = PipelineText(Path(facts.encoder.removeprefix(HEAD)), facts.length)
    else:
        found = build("texts", facts.encoder, length=facts.length)
    if found.facts.digest != facts.digest:
        raise BadInput(
            f"the text encoder {facts.encoder} is of {found.facts.digest}, and that of the run was "
            f"of {facts.digest}.",
            "Put the one that the run was trained with in its place.",
        )
    return found


def told_data(data: Data, spec: str, folder: Path | None = None) -> Data:
    """Data whose captions are told as the tokens of a text encoder."""
    if not data.captions:
        raise BadInput(
            f"`data.text` is {spec}, and '{data.name}' has no captions.",
            "Leave it out, or write captions: name.txt beside name.png, metadata.jsonl or "
            "captions.csv.",
        )
    encoder = build("texts", spec, captions=data.captions)
    return spoken(data, encoder.facts, KeptTexts(encoder, folder)(data.captions))


def told_prompts(
    facts: TextFacts | None, folder: Path, texts: Sequence[str], less: str | None
) -> dict[str, Tensor]:
    """Prompts, and what shall not be, as conditions of a run (`data.text.prompted`)."""
    if facts is None:
        raise BadInput(
            "a `prompt` was given, and the run was trained without captions.",
            "Leave it out, or train with `data.text` on data with captions.",
            "prompt",
        )
    return dict(prompted(KeptTexts(encoder_of(facts), folder), texts, less))
