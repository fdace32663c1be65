"""torchvision's classifiers, without the compiler.

One of its detection operators takes a function from `torch._dynamo` as it is imported, to be asked on a GPU. So every
program that answers for one picture would load the compiler, a third of all it loads. Here that function is found in a
module of ours, and loads the compiler once it is called.
"""

import sys
from importlib import import_module
from types import ModuleType

_COMPILER = "torch._dynamo.utils"
_ASKED = "is_compile_supported"


def _ask(device: str) -> bool:
    return bool(getattr(import_module(_COMPILER), _ASKED)(device))


def _models() -> ModuleType:
    if _COMPILER in sys.modules or "torchvision" in sys.modules:
        return import_module("torchvision.models")
    stand_in = ModuleType(_COMPILER)
    setattr(stand_in, _ASKED, _ask)
    sys.modules[_COMPILER] = stand_in
    try:
        return import_module("torchvision.models")
    except ImportError:  # another torchvision, that wants more of it
        pass
    finally:
        del sys.modules[_COMPILER]
    return import_module("torchvision.models")


models = _models()
