"""`trainer.vision`: torchvision without the compiler, until somebody asks for it."""

import subprocess
import sys

from tests.environment import clean_env

LOADED = "any(name.startswith('torch._dynamo') for name in sys.modules)"


def test_the_compiler_is_loaded_by_whoever_needs_it() -> None:
    """A network answers without it; torchvision's own question about it is answered by the real one."""
    code = f"""
import sys, torch
from trainer import network
with torch.inference_mode():
    assert network.build("squeezenet1_1", 3, 64).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
assert not {LOADED}
from torchvision.ops import roi_align
asked = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
import torch._dynamo.utils
assert asked == torch._dynamo.utils.is_compile_supported("cpu")
"""
    done = subprocess.run([sys.executable, "-c", code], env=clean_env(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
