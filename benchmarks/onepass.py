"""Peak memory of measuring n samples of 3 x 32 x 32, in one pass and all in memory.

python benchmarks/onepass.py 1000 pass; python benchmarks/onepass.py 50000 pass; ... 50000 whole
"""

import resource
import sys
import time

import torch

from scorefield.data import Data, Scaling, Split
from scorefield.measure import Judge, Reference, one_pass
from scorefield.use.evaluate import measures_of

n, how, shape = int(sys.argv[1]), sys.argv[2], (3, 32, 32)
rng = torch.Generator().manual_seed(0)
train, test = (
    Split(torch.rand(m, *shape, generator=rng), {"label": torch.arange(m) % 10})
    for m in (2000, 1000)
)
data = Data("noise", train, test, tuple("abcdefghij"), Scaling((0.5,) * 3, (0.5,) * 3))
torch.manual_seed(0)
judge = Judge(shape, 10, width=8).eval().requires_grad_(False)
reference = Reference(data, judge, n, torch.arange(n) % 10)
sizes = [256] * (n // 256) + ([n % 256] if n % 256 else [])
pieces = (torch.randn(m, *shape, generator=rng) for m in sizes)
began = time.process_time()
seen = one_pass(pieces, reference) if how == "pass" else torch.cat(list(pieces))
found = measures_of(seen, reference).record
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(n, how, f"peak {peak:.3f} GB, {time.process_time() - began:.0f} s of processor")
print(found["frechet"]["value"], found["kid"]["value"], found["precision_recall"]["recall"])
