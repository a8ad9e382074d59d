"""Many files denoised: where their outputs go, several at once, and what became of each.

::

    plan.py    inputs and their outputs; what clashes, what is passed over
    record.py  what an earlier run made of which source, with which options
    run.py     the work itself
    spread.py  the same on the workers of a Ray cluster
    report.py  what became of each file, as JSON lines or Parquet
    many.py    all of it in one call

Classifying many files is in classifying.py.
"""

from tinysignal.batch.classifying import classify_files
from tinysignal.batch.many import denoise_folder, denoise_many
from tinysignal.batch.plan import Work, find_sounds, passed_over_text, plan_work
from tinysignal.batch.record import Records
from tinysignal.batch.run import Outcome, outcomes_of, run_batch
from tinysignal.batch.spread import outcomes_by
from tinysignal.denoise_file import FileOptions, FileReport, denoise_file

__all__ = [
    "FileOptions",
    "FileReport",
    "Outcome",
    "Records",
    "Work",
    "classify_files",
    "denoise_file",
    "denoise_folder",
    "denoise_many",
    "find_sounds",
    "outcomes_by",
    "outcomes_of",
    "passed_over_text",
    "plan_work",
    "run_batch",
]
