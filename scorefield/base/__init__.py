"""Floor 0: what everything else is said in.

One forward process, one notation: `x = alpha x0 + sigma eps`, `eps ~ N(0, I)`. A `Level` is the
pair (alpha, sigma); a `Denoise` maps (x, level, condition) to E[x0 | x]; a `Noise` is the chance
of a step, handed in as an argument.
"""

from typing import TYPE_CHECKING

from scorefield.base.source import lazy

if TYPE_CHECKING:
    from scorefield.base.errors import BadInput, unknown
    from scorefield.base.level import CLEAN, Level, join, like, quotient, ratios
    from scorefield.base.noise import Noise, Seeded, Zero
    from scorefield.base.pairs import Pairs, Shown
    from scorefield.base.types import Cond, Denoise, Guide, Map
    from scorefield.base.watch import Watch, quiet

__all__ = [
    "CLEAN", "BadInput", "Cond", "Denoise", "Guide", "Level", "Map", "Noise", "Pairs", "Seeded",
    "Shown", "Watch", "Zero", "join", "like", "quiet", "quotient", "ratios", "unknown",
]  # fmt: skip

__getattr__ = lazy(__name__)
