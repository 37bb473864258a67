"""Text encoders, by file: words -> tokens with a mask."""

from scorefield.base.entries import Entries

texts = Entries(
    {
        "words": "data.text:word_table",
        "minilm": "data.readers.frozen:minilm",
        "transformer": "data.readers.frozen:transformer",
    }
)
