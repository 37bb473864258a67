"""The integral of a density known up to a constant.

By a population that is moved to it (SMC), and by a path that is learned (DDS).
"""

import math

from scorefield import density

target = density.Target(lambda x: -(x - 3).square().sum(1) / 8, dim=3)
truth = 1.5 * math.log(8 * math.pi)

# %% Five seconds for each.
for method, seconds in {"smc": 5, "dds": 5}.items():
    found = density.fit(target, method, steps=16, seconds=seconds, n=2000)
    print(f"{method}: log Z {found.log_z:.3f} +- {found.stderr:.3f}, exact {truth:.3f}")
