"""Floor 4: training. A run is a pure function of its settings and its data.

Step k of a run trains on positions `k B .. (k+1) B - 1` of an endless sequence of shuffled epochs
and draws its times and noise from a generator seeded by (seed, k). Nothing about chance has to be
remembered: weights, averages, optimiser moments, the losses that an adaptive law of times has
observed and the count of images seen are the whole state, and a run that was killed goes on as if
it had not been. What learns is a `Task`, all by the one loop.
"""

from typing import TYPE_CHECKING

from scorefield.base.source import lazy

if TYPE_CHECKING:
    from scorefield.objective import Batch, Buckets, Denoising, Loss, Task, Turn
    from scorefield.train.ema import EMA, Power, WarmUp
    from scorefield.train.epochs import order
    from scorefield.train.launch import Team, processes
    from scorefield.train.posthoc import coefficients, combine
    from scorefield.train.settings import Training
    from scorefield.train.state import TrainState
    from scorefield.train.trackers import check_trackers
    from scorefield.train.trainer import Diverged, Progress, finish, fit, learn

__getattr__ = lazy(__name__)
