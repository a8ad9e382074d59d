"""Many files in one call, in this process or on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Literal

from tinysignal.batch.plan import plan_work
from tinysignal.batch.report import default_report, in_order, report_to
from tinysignal.batch.run import Outcome
from tinysignal.batch.spread import outcomes_by
from tinysignal.cluster import Engine
from tinysignal.denoise_file import FileOptions
from tinysignal.denoiser import Denoiser
from tinysignal.remote import Place, Url, place


def denoise_folder(
    folder: str | Place,
    out_folder: str | Place,
    *,
    denoiser: Denoiser | None = None,
    options: FileOptions | None = None,
    suffix: str | None = None,
    jobs: int = 1,
    overwrite: bool = False,
) -> list[Outcome]:
    """Denoise every sound file in a folder and its subfolders into another folder.

    Parameters, results and errors are those of `denoise_many`, on this machine and without a
    report.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tinysignal import audio
    >>> from tinysignal.batch import denoise_folder
    >>> Path("lectures").mkdir()
    >>> noise = np.random.default_rng(0).normal(0, 0.01, 16000)
    >>> audio.write("lectures/first.wav", noise, sample_rate_hz=16000)
    >>> for outcome in denoise_folder("lectures", "quiet"):
    ...     print(outcome.status, outcome.work.target.as_posix())
    done quiet/first.wav
    """
    return denoise_many(
        folder,
        out_folder,
        denoiser=denoiser,
        options=options,
        suffix=suffix,
        jobs=jobs,
        overwrite=overwrite,
    )


def denoise_many(
    inputs: str | Place | Iterable[str | Place],
    out_folder: str | Place | None = None,
    *,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    retries: int | None = None,
    jobs: int | None = None,
    denoiser: Denoiser | None = None,
    options: FileOptions | None = None,
    suffix: str | None = None,
    overwrite: bool = False,
    report: str | Path | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Denoise files and folders, here or on many machines; the outputs are the same, bit for bit.

    What an earlier run has made of the same input, with the same model and options, is skipped. A
    file that fails does not stop the others, nor does a worker or a machine that dies.

    Parameters
    ----------
    inputs : str, Path, Url or iterable of them
        Files and folders, or their URLs. On a cluster, all machines see them at the same paths.
    out_folder : str, Path, Url or None
        Made if it is missing; None to write ``NAME.clean.EXT`` beside every input.
    engine, address, retries
        See `tinysignal.cluster.Engine`.
    jobs : int or None
        Files at once; None for 1, and with Ray for one for each processor of the cluster.
    denoiser : Denoiser or None
        None for the bundled default.
    options : FileOptions or None
        How the outputs are stored; None for as their inputs are.
    suffix : str or None
        Extension of the outputs, such as ``.flac``; None for that of the input.
    overwrite : bool
        Whether to redo what is done, and to replace outputs that are read-only.
    report : str, Path or None
        A file ``.jsonl`` or ``.parquet`` with what became of each input; None for
        ``out_folder/report.jsonl`` with Ray, if that is no URL, else for none.
    on_outcome : callable
        Called with each `Outcome` as it comes, which with Ray is not the order of the inputs.

    Returns
    -------
    list of Outcome
        One for each file, in the order of the inputs; look at its ``status`` and ``error``.

    Raises
    ------
    FileError, AudioFileError
        A folder cannot be read or holds no sound file, or a folder or report cannot be made.
    ConfigError
        An output is an input, an option is out of its bounds, or there is no such cluster.
    MissingExtraError
        Ray is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tinysignal import audio
    >>> from tinysignal.batch import denoise_many
    >>> Path("talks").mkdir()
    >>> noise = np.random.default_rng(0).normal(0, 0.01, 16000)
    >>> audio.write("talks/first.wav", noise, sample_rate_hz=16000)
    >>> (outcome,) = denoise_many("talks", "cleaned", jobs=2)  # or engine="ray"
    >>> outcome.status, outcome.work.target.as_posix()
    ('done', 'cleaned/first.wav')
    """
    chosen = Engine(engine=engine, address=address, retries=retries)
    listed = [inputs] if isinstance(inputs, str | Path | Url) else list(inputs)
    folder = None if out_folder is None else place(out_folder)
    work = plan_work(listed, out_folder=folder, suffix=suffix)
    report_file = default_report(chosen, folder) if report is None else Path(report)
    outcomes = []
    with report_to(report_file) as write:
        made = outcomes_by(
            chosen,
            work,
            denoiser or Denoiser.load(),
            options,
            jobs=jobs,
            overwrite=overwrite,
            replace_read_only=overwrite,
            make_folders=True,
        )
        with closing(made):
            for outcome in made:
                write(outcome)
                outcomes.append(outcome)
                on_outcome(outcome)
    return in_order(outcomes, work)
