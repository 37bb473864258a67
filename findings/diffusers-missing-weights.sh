#!/usr/bin/env bash
# diffusers 0.42.1: `from_pretrained` opens a folder from which a tensor is missing without an error (a line in the
# log) and leaves in it whatever memory lay there: numbers of 1e38, others at every load.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 transformers safetensors
cd "$folder"
HF_HOME="$folder" HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import diffusers
import torch
from safetensors.torch import load_file, save_file

torch.manual_seed(0)
sizes = dict(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
             block_out_channels=(8, 16), down_block_types=("DownBlock2D",) * 2,
             up_block_types=("UpBlock2D",) * 2)
diffusers.UNet2DModel(**sizes).save_pretrained("net")
file = "net/diffusion_pytorch_model.safetensors"
tensors = load_file(file)
del tensors["conv_in.weight"]
save_file(tensors, file)
first, second = (diffusers.UNet2DModel.from_pretrained("net") for _ in range(2))
apart = (first.conv_in.weight - second.conv_in.weight).abs().max().item()
print("diffusers", diffusers.__version__, "opened; two loads of one folder are apart by", apart)
assert apart > 0, "a missing tensor is refused, or always the same, now"
PY
