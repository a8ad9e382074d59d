"""Where a run runs: one process a device, started by Lightning or by ``torchrun``."""

from __future__ import annotations

import os

import torch.distributed
from lightning.fabric.utilities.rank_zero import rank_zero_only

from tinysignal.train.options import RunOptions


def layout(config: RunOptions) -> tuple[int, int]:
    """Devices a machine, and machines: what ``torchrun`` says, else the options."""
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    return config.devices, 1


def processes(config: RunOptions) -> int:
    """Processes of the run, over all machines."""
    devices, machines = layout(config)
    return devices * machines


def process_rank() -> int:
    """Number of this process in its run; 0 scores, writes and speaks."""
    rank: int = getattr(rank_zero_only, "rank", 0)
    return rank


def wait_for_all() -> None:
    """Wait until every process of the run is here."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
