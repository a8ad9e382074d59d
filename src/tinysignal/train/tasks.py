"""The kinds of networks that can be trained, by the ``task`` of their spec.

Another kind is a folder beside ``denoising`` and a line here, and one in `tinysignal.spec.SPECS`.
"""

from __future__ import annotations

from tinysignal.train.classification.task import CLASSIFICATION
from tinysignal.train.denoising.task import DENOISING
from tinysignal.train.task import Task

TASKS: dict[str, Task] = {"denoise": DENOISING, "classify": CLASSIFICATION}
