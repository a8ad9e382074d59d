"""Registry of the tasks, by the ``task`` of their spec.

A new task is a folder beside ``denoising``, a line here, and a line in `tinysignal.spec.SPECS`.
"""

from __future__ import annotations

from tinysignal.train.classification.task import CLASSIFICATION
from tinysignal.train.denoising.task import DENOISING
from tinysignal.train.task import Task

TASKS: dict[str, Task] = {"denoise": DENOISING, "classify": CLASSIFICATION}
