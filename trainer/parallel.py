"""Several processes that learn as one, each on its own device: `torchrun`, DDP, and who of them writes what.

Every process goes through the same batches in the same order and learns from its own slice of each: with the same seed
the order is the same however many there are. How pictures are varied each process draws by itself.
"""

import atexit
import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.errors import TrainerError

T = TypeVar("T")
_PATIENCE = timedelta(minutes=30)
"""The longest that processes wait for one another: while one decodes all images, the others do."""
_LAST_SECONDS = 1.0
"""At the end of the program, for gloo's threads that outlive a group that DDP has used, also when both are gone (torch
2.14; without DDP they end with the group): one that has yet to give back a tensor when Python is gone ends the process
by "terminate called without an active exception", after all is done and written. Seen three times, on busy machines;
https://github.com/pytorch/pytorch/pull/179291 has the same of groups that nobody has ended."""
FEWEST = 2
"""Pictures of a batch that each process needs: batch normalisation cannot learn from one."""


@dataclass(frozen=True)
class Crew:
    """This process and how many there are. Alone unless `torchrun` started it."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the one that validates and writes."""
        return self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        """This process's share of some rows: every so many, so that shares differ by one at most."""
        return rows[self.rank :: self.size]

    def agreed(self, value: T) -> T:
        """Give what the leader has for `value`, everywhere. It must be plain data."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def total(self, value: Tensor) -> Tensor:
        """Add up the values of all processes."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def together(self, network: nn.Module) -> nn.Module:
        """Let the gradients of a network, and its running statistics, be those of all processes."""
        return DistributedDataParallel(network) if self.size > 1 else network

    def wait(self) -> None:
        """Wait until all are here."""
        if self.size > 1:
            distributed.barrier()

    def device(self, chosen: torch.device) -> torch.device:
        """Give this process's own one of a machine's GPUs."""
        if self.size > 1 and str(chosen) == "cuda":
            chosen = torch.device("cuda", self.local_rank)
            torch.cuda.set_device(chosen)
        return chosen


@contextmanager
def crew() -> Iterator[Crew]:
    """Join the processes that `torchrun` started, for the time of this context; alone where it did not.

    Inside another such context, that one's. Raises TrainerError when the others do not come.
    """
    joined: bool = distributed.is_initialized()
    if joined:
        yield _present()
        return
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield Crew()
        return
    try:
        # Each kind of device by what is made for it: `--device cpu` works beside GPUs, too.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainerError(f"cannot join the other processes of torchrun: {error}") from error
    _linger_at_the_end()
    try:
        yield _present()
    finally:
        distributed.destroy_process_group()


@functools.cache  # once, however many runs a program trains
def _linger_at_the_end() -> None:
    atexit.register(time.sleep, _LAST_SECONDS)


def _present() -> Crew:
    return Crew(distributed.get_rank(), distributed.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
