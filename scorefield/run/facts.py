"""What a run must know of its data: `data.facts`, by the name that runs have for it."""

from scorefield.data.facts import CodecFacts, DataFacts

__all__ = ["CodecFacts", "DataFacts"]
