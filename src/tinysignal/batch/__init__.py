"""Many files denoised: where their outputs go, several at once, and what became of each.

::

    plan.py    inputs and their outputs; what clashes, what is passed over
    record.py  what an earlier run made of which source, with which options
    run.py     the work itself
"""

from tinysignal.batch.plan import Work, find_sounds, passed_over_text, plan_work
from tinysignal.batch.record import Records
from tinysignal.batch.run import Outcome, denoise_folder, outcomes_of, run_batch
from tinysignal.denoise_file import FileOptions, FileReport, denoise_file

__all__ = [
    "FileOptions",
    "FileReport",
    "Outcome",
    "Records",
    "Work",
    "denoise_file",
    "denoise_folder",
    "find_sounds",
    "outcomes_of",
    "passed_over_text",
    "plan_work",
    "run_batch",
]
