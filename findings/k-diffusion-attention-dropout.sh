#!/usr/bin/env bash
# k-diffusion 0.1.1.post1: attention of image_v1 (layers.SelfAttention2d, CrossAttention2d) hands dropout_p to
# scaled_dot_product_attention, which knows no eval mode: a model with dropout_rate > 0 and attention says another
# thing at each call, in eval() too. `dropout_p=self.dropout.p if self.training else 0.0` mends it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet --no-deps k-diffusion==0.1.1.post1
"$folder/venv/bin/pip" install --quiet numpy scipy einops tqdm
cd "$folder"
venv/bin/python - <<'PY'
import importlib.util
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

for name in ("dctorch", "torchdiffeq", "torchsde", "torchvision", "torchvision.transforms", "PIL", "safetensors"):
    sys.modules.setdefault(name, MagicMock())  # of its loss, adaptive solvers and files alone
at = Path(importlib.util.find_spec("k_diffusion").origin).parent
package = types.ModuleType("k_diffusion")
package.__path__ = [str(at)]
sys.modules["k_diffusion"] = package

import torch
from k_diffusion.layers import AdaGN, SelfAttention2d

torch.manual_seed(0)
net = SelfAttention2d(64, 1, lambda c: AdaGN(8, c, 2), dropout_rate=0.05).eval()
torch.nn.init.normal_(net.out_proj.weight, std=0.1)  # it begins at zero, as if it were not there
x, cond = torch.randn(1, 64, 8, 8), {"cond": torch.randn(1, 8)}
with torch.no_grad():
    both = [net(x, cond) for _ in range(2)]
apart = float((both[0] - both[1]).abs().max() / both[0].abs().max())
print(f"k-diffusion 0.1.1.post1: two calls of an attention in eval(), dropout .05, differ by {apart:.1e} of the largest")
assert apart > 1e-4, "eval() is deterministic now"
PY
