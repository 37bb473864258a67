"""Every law's twins by one name, for tests outside this folder: solvers and noises that must fail.

Each stands in the module of the law that finds it."""

from tests.laws.batches import BatchNormed, CounterNoise, FirstLevelOnly, IndexNoise, SaltedNoise
from tests.laws.counts import integer_stride
from tests.laws.dtypes import ByDifferences, Coarse, Widening
from tests.laws.moments import BetaScaled, Impatient, VarianceForDeviation
from tests.laws.order import BlindHeun, BoastfulDDIM, NoHalf2M, OnlyPreserving, SigmaHereDDIM
from tests.laws.steps import (
    EpsDDIM,
    HalfFirst,
    Hidden2M,
    InPlace,
    SecretlyStochastic,
    ThriceHeun,
    Unguarded2M,
)
from tests.laws.twin import Twin

__all__ = [
    "BatchNormed",
    "BetaScaled",
    "BlindHeun",
    "BoastfulDDIM",
    "ByDifferences",
    "Coarse",
    "CounterNoise",
    "EpsDDIM",
    "FirstLevelOnly",
    "HalfFirst",
    "Hidden2M",
    "Impatient",
    "InPlace",
    "IndexNoise",
    "NoHalf2M",
    "OnlyPreserving",
    "SaltedNoise",
    "SecretlyStochastic",
    "SigmaHereDDIM",
    "ThriceHeun",
    "Twin",
    "Unguarded2M",
    "VarianceForDeviation",
    "Widening",
    "integer_stride",
]
