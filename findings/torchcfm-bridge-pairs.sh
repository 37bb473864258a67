#!/usr/bin/env bash
# torchcfm 1.0.7: SchrodingerBridgeConditionalFlowMatcher pairs its batches by exact transport unless it
# is told ot_method="sinkhorn". Exact pairs with the noise of the bridge keep both ends and miss the
# middle: from N(0, 1) to N(0, .09) with sigma .5 the variance at t = 1/2 is .485; of the Schroedinger
# bridge it is .435 (a closed form). With ot_method="sinkhorn" it is .435 up to the batch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet --no-deps torchcfm==1.0.7 POT==0.9.7.post1
"$folder/venv/bin/pip" install --quiet scipy numpy
cd "$folder"
venv/bin/python - <<'PY'
import importlib.metadata
import inspect
import sys
import types

sys.modules["torchdyn"] = types.ModuleType("torchdyn")  # of its training examples alone
for name in ("torchdyn.datasets",):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].generate_moons = None
import torch
from torchcfm.conditional_flow_matching import SchrodingerBridgeConditionalFlowMatcher as Bridge

torch.manual_seed(0)
print("torchcfm", importlib.metadata.version("torchcfm"))
default = inspect.signature(Bridge.__init__).parameters["ot_method"].default
print("ot_method by default:", default)
middle = {}
for method in ("exact", "sinkhorn"):
    found = []
    for _ in range(16):
        x0, x1 = torch.randn(512, 1), 0.3 * torch.randn(512, 1)
        matcher = Bridge(sigma=0.5, ot_method=method)
        _, x, _ = matcher.sample_location_and_conditional_flow(x0, x1, torch.full((512,), 0.5))
        found.append(float(x.var()))
    spread = torch.tensor(found).std() / 4
    middle[method] = sum(found) / 16
    print(f"{method}: variance at 1/2 {middle[method]:.3f} +- {spread:.3f}")
assert default == "exact", "the default has changed"
assert abs(middle["exact"] - 0.485) < 0.02 and abs(middle["sinkhorn"] - 0.435) < 0.02
PY
