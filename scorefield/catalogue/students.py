"""Models of few steps: what a student learns of a teacher, or of data."""

from scorefield.base.entries import Entries

students = Entries(
    {
        "knowledge": "distill.knowledge:Knowledge",
        "operator": "distill.knowledge:FlowOperator",
        "reflow": "distill.reflow:Reflow",
        "progressive": "distill.progressive:Progressive",
        "consistency": "distill.consistency:Consistency",
        "consistency-training": "distill.consistency:ConsistencyTraining",
        "trigflow": "distill.trigflow:TrigFlow",
        "meanflow": "distill.flowmap:MeanFlow",
        "shortcut": "distill.flowmap:Shortcut",
        "dmd": "distill.matching:Matching",
        "genie": "distill.genie:GenieHead",
        "denoising-gan": "distill.gan:DenoisingGAN",
        "learned-sampler": "distill.sampler:LearnedSampler",
    }
)
