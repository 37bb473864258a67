"""What is learned: losses, the weight of each level, how often each is trained, and with which
noise."""

from scorefield.base.entries import Entries, site

objectives = Entries(
    {
        "regression": "objective.loss:Objective",
        "sliced": "objective.sliced:Sliced",
        "hybrid": "objective.hybrid:Hybrid",
        "variational": "objective.variational:Variational",
        "bridge": "objective.bridged:Bridged",
        "residual": "objective.bridged:PairResidual",
    }
)
couplings = Entries(
    {
        "independent": "objective.couplings:Independent",
        "transport": "objective.couplings:MinibatchTransport",
        "immiscible": "objective.couplings:Immiscible",
    }
)
weights = Entries(
    {
        "simple": site("objective.weight:snr", ready=True),
        "snr": site("objective.weight:snr", ready=True),
        "truncated-snr": site("objective.weight:truncated_snr", ready=True),
        "min-snr": "objective.weight:MinSNR",
        "vlb": "objective.weight:VLB",
        "likelihood": "objective.weight:Likelihood",
        "hybrid-score": "objective.weight:HybridScore",
        "edm": "objective.weight:EDMWeight",
        "sigmoid": "objective.weight:Sigmoid",
        "p2": "objective.weight:P2",
        "x0": site("objective.weight:unit", ready=True),
    }
)
times = Entries(
    {
        "uniform": "objective.times:Uniform",
        "stratified": "objective.times:Stratified",
        "antithetic": "objective.times:Antithetic",
        "covering": "objective.times:Covering",
        "lognormal": "objective.times:LogNormal",
        "logit-normal": "objective.times:LogitNormal",
        "fixed": "objective.times:Fixed",
        "geometric": "objective.times:Geometric",
        "adaptive": "objective.adaptive:Adaptive",
    }
)
