"""The processes of one run: how many, which of them this is, and what happens when one ends."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch.distributed
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only

from tinysignal.errors import TinysignalError
from tinysignal.train.config import TrainConfig
from tinysignal.train.folder import CHECKPOINT

_log = logging.getLogger(__name__)


def layout(config: TrainConfig) -> tuple[int, int]:
    """Number of devices per machine and of machines, from ``torchrun``, SLURM or the options."""
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    if SLURMEnvironment.detect():
        machines = int(os.environ.get("SLURM_NNODES", "1"))
        return int(os.environ["SLURM_NTASKS"]) // machines, machines
    return config.devices, 1


def processes(config: TrainConfig) -> int:
    """Number of processes of the run on all machines."""
    devices, machines = layout(config)
    return devices * machines


def process_rank() -> int:
    """Rank of this process in its run; rank 0 scores, writes and prints."""
    rank: int = getattr(rank_zero_only, "rank", 0)
    return rank


def wait_for_all() -> None:
    """Wait for all processes of the run."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def is_of_another_process(error: Exception) -> bool:
    """Whether an error says that another process of the run has ended."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    said = str(error).lower()
    is_gloo = isinstance(error, RuntimeError) and ("gloo" in said or "connection" in said)
    return is_gloo or isinstance(error, torch.distributed.DistError)


def left_alone(folder: Path) -> TinysignalError:
    """The error of a process whose run has lost another one."""
    how = "Continue with --resume" if (folder / CHECKPOINT).exists() else "Start it again"
    return TinysignalError(f"{folder}: another process of the run ended, and so does this. {how}.")


def tell_other_processes(state: dict[str, Any], config: TrainConfig) -> None:
    """Say that a run goes on in another number of processes than it had."""
    before, now = state["callbacks"]["schedule"].get("processes"), processes(config)
    if before not in (None, now) and process_rank() == 0:
        _log.warning(
            f"begun in {before} processes and continued in {now}: an epoch is as many batches in "
            "other steps, and the weights are not those of an uninterrupted run."
        )
