"""What numbers to compute in: bfloat16 where the hardware multiplies it faster."""

import torch
from torch import nn

from trainer.evaluate import Precision


def choose_precision(network: nn.Module, device: torch.device) -> Precision:
    """Choose bfloat16 on GPUs that have it, and on CPUs with AMX or AVX512-BF16 for networks it speeds up."""
    if device.type == "cuda":
        return Precision(device, torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return Precision(device, _cpu_multiplies_bfloat16() and _mostly_dense(network))
    return Precision(device, bfloat16=False)


def _cpu_multiplies_bfloat16() -> bool:
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def _mostly_dense(network: nn.Module) -> bool:
    return True
