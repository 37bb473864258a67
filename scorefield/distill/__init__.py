"""Floor 4: students that need few calls, each learned as a task of the one trainer."""

from scorefield.distill.consistency import Consistency, ConsistencyTraining
from scorefield.distill.distil import METHODS, distil, factory_of, student_of
from scorefield.distill.flowmap import MeanFlow, Shortcut
from scorefield.distill.gan import DenoisingGAN
from scorefield.distill.genie import GenieHead
from scorefield.distill.knowledge import FlowOperator, Knowledge
from scorefield.distill.matching import Matching
from scorefield.distill.progressive import Progressive
from scorefield.distill.reflow import Reflow
from scorefield.distill.sampler import LearnedSampler, LinearMultistep, Steps
from scorefield.distill.student import Student, StudentDraws
from scorefield.distill.trigflow import TrigFlow

__all__ = [
    "METHODS", "Consistency", "ConsistencyTraining", "DenoisingGAN", "StudentDraws", "GenieHead",
    "Knowledge", "LearnedSampler", "LinearMultistep", "Matching", "MeanFlow", "FlowOperator",
    "Progressive", "Reflow", "Shortcut", "Steps", "Student", "TrigFlow", "distil", "student_of",
    "factory_of",
]  # fmt: skip
