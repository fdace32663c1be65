"""Weights that come as plain tensors, from a file or a running mean, put into a network."""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn


def put(network: nn.Module, tensors: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Let a network carry these weights. Raises RuntimeError where they are not its own, unless not `strict`.

    Layers number the versions of their weights, beside the tensors; MNASNet refuses weights without a number. Tensors
    alone are taken for today's version.
    """
    numbered = OrderedDict(tensors)
    numbered._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]  # noqa: SLF001 - torch's own key
    network.load_state_dict(numbered, strict=strict)
