"""Without the extra `interop` there is nothing to test."""

import logging
import os
from importlib.util import find_spec

os.environ.setdefault("HF_HUB_OFFLINE", "1")
logging.getLogger("diffusers").setLevel(logging.ERROR)
if any(find_spec(name) is None for name in ("diffusers", "onnxruntime", "onnxscript")):
    collect_ignore_glob = ["test_*.py"]
