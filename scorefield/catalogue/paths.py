"""Ways to a density known up to a constant: learned paths, and populations that learn nothing."""

from scorefield.base.entries import Entries, site

paths = Entries(
    {
        "dds": "density.methods:DDS",
        "dis": "density.methods:DIS",
        "pis": "density.methods:PIS",
        "dbs": "density.methods:DBS",
        "uds": "density.methods:UDS",
        "cmcd": "density.methods:CMCD",
        "scld": "density.methods:SCLD",
        "smc": site("smc.annealed:Annealing", adaptive=0.9),
        "ais": site("smc.annealed:Annealing", threshold=0.0),
        "tempering": "smc.tempering:Tempering",
        "hmc": "smc.hamiltonian:Hamiltonian",
    }
)
