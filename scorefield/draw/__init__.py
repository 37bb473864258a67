"""Floor 4: how samples are made. One walker for every verb.

A `Plan` says how, an `Asked` for whom, and a `Job` is a walk in progress: a value, which can be
kept, moved and gone on with. `tick` brings any number of unlike jobs one call of the denoiser
further, `draw` walks until all samples are there.
"""

from scorefield.draw.draw import CountedRows, Drawn, attempt, draw, encode_rows
from scorefield.draw.jobs import Event, Job, Question, next_question, tick, walk
from scorefield.draw.plan import Asked, Plan, guided

__all__ = [
    "Asked", "CountedRows", "Drawn", "Event", "Job", "Plan", "Question", "attempt", "draw",
    "encode_rows", "guided", "next_question", "tick", "walk",
]  # fmt: skip
