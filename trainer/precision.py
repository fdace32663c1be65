"""What numbers to compute in: bfloat16 where the hardware multiplies it faster."""

import torch
from torch import nn

from trainer.evaluate import Precision


def choose_precision(network: nn.Module, device: torch.device) -> Precision:
    """Choose bfloat16 on GPUs that have it, and on CPUs with AMX or AVX512-BF16 for networks it speeds up."""
    if device.type == "cuda":
        return Precision(device, torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return Precision(device, cpu_multiplies_bfloat16() and not _mobile(network))
    return Precision(device, bfloat16=False)


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has AMX or AVX512-BF16."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def _mobile(network: nn.Module) -> bool:
    """Whether its time goes into depthwise convolutions and batch norms, which wait for memory, not for multipliers.

    Images a second in training on two cores with AVX512-BF16, fp32 against bfloat16: SqueezeNet 115 and 183,
    ResNet-18 81 and 128, ResNet-50 10 and 19, ConvNeXt-T 7 and 12; but MobileNetV3-S 121 and 95, EfficientNet-B0 25
    and 20.
    """
    layers = list(network.modules())
    depthwise = any(isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1 for layer in layers)
    return depthwise and any(isinstance(layer, nn.BatchNorm2d) for layer in layers)
