"""The two passes through a network, recorded once on a GPU and played from then on.

A step of learning is hundreds of small kernels. A fast GPU is done with each before the host has launched the next, and
waits most of the time; a recorded pass, a CUDA graph, is launched as one.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainer.evaluate import Precision

_ROOM = 2.0
"""Times what both passes take of memory, free beside it: a recording has memory of its own."""


class Recorded:
    """A network to learn through: batches of one size are played, any other goes through the network as it is.

    Played, it gives the same bits. Where a recording has no room, or the network looks at its own numbers on the way,
    all batches go through it as it is.
    """

    def __init__(self, network: nn.Module, batch_size: int, precision: Precision) -> None:
        self.network = network
        self.batch_size = batch_size
        self.precision = precision
        self.played: nn.Module | None = None
        """What stands in for the network; None before the first batch, and where that one cannot be recorded."""
        self._shape: torch.Size | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Give the raw outputs, (B, classes), for images (B, 3, size, size), channels last."""
        # A part of a batch is never played: gradients of several parts are added up where the recording writes its own.
        if len(images) == self.batch_size and images.shape != self._shape:
            self._record(images)
        network = self.played if self.played and images.shape == self._shape else self.network
        outputs: Tensor = network(images)
        return outputs

    def _record(self, images: Tensor) -> None:
        """Record for images of this shape in place of those before: pictures only grow in a run."""
        self.played, self._shape = None, images.shape
        nothing = torch.zeros_like(images)
        with _traceless(self.network, images.device), self._autocast():
            # One that failed halfway would leave torch's random numbers and its memory unusable: looked at before.
            if not self._can_be_recorded(nothing):
                return
            twin = _Twin(self.network)
            torch.cuda.make_graphed_callables(twin, (nothing,), allow_unused_input=True)
            self.played = twin

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cuda", torch.bfloat16, enabled=self.precision.bfloat16, cache_enabled=False)

    def _can_be_recorded(self, images: Tensor) -> bool:
        """Go both ways without recording: nothing may make the host wait, and there must be room for it twice."""
        device = images.device
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        try:
            self._both_ways(images)  # what is made ready in a first pass may wait
            with _waiting_refused():
                self._both_ways(images)
        except RuntimeError:
            return False
        needed = torch.cuda.max_memory_allocated(device) - before
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        return free >= _ROOM * needed

    def _both_ways(self, images: Tensor) -> None:
        outputs = self.network(images)
        torch.autograd.grad(outputs, list(self.network.parameters()), torch.ones_like(outputs), allow_unused=True)


@contextmanager
def _traceless(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Let passes through a network in this context change neither its running means nor what is drawn next."""
    before = [buffer.clone() for buffer in network.buffers()]
    # Gradients are laid down on the stream of the recording; by itself torch would say so in every run.
    quiet = getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None)
    if quiet is not None:
        quiet(False)
    try:
        with torch.random.fork_rng(devices=[device]), torch.enable_grad():
            yield
    finally:
        for buffer, kept in zip(network.buffers(), before, strict=True):
            buffer.copy_(kept)


@contextmanager
def _waiting_refused() -> Iterator[None]:
    """Let torch raise a RuntimeError for whatever makes the host wait for the GPU in this context."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it may not find all
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


class _Twin(nn.Module):
    """Stands for a network that is recorded, since recording changes what it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Do what the network does."""
        outputs: Tensor = self.network(images)
        return outputs
