"""Floor 4: students that need few calls, each learned as a task of the one trainer."""

from scorefield.distill.consistency import Consistency, ConsistencyTraining
from scorefield.distill.gan import DenoisingGAN
from scorefield.distill.flowmap import MeanFlow, Shortcut
from scorefield.distill.knowledge import Knowledge, Operator
from scorefield.distill.progressive import Progressive
from scorefield.distill.student import Draws, Student
from scorefield.distill.trigflow import TrigFlow

__all__ = [
    "Consistency", "ConsistencyTraining", "DenoisingGAN", "Draws", "Knowledge", "MeanFlow", "Operator",
    "Progressive", "Shortcut", "Student", "TrigFlow",
]  # fmt: skip
