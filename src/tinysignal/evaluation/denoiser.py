"""Read, process and score pairs of recordings, in order, on any number of processes."""

from __future__ import annotations

import multiprocessing
import pickle
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from tinysignal import audio
from tinysignal.audio.validate import Signal
from tinysignal.cluster import Check, Engine, Fault, joined
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, DataError, SignalError, TinysignalError
from tinysignal.evaluation.pairs import Failure, Pair, cut_alike, match_folders, read_pairs
from tinysignal.evaluation.report import Evaluation, FileScores
from tinysignal.files import make_folder
from tinysignal.gain import DenoiseOptions
from tinysignal.metrics.audio import Scores, snr
from tinysignal.metrics.registry import METRICS, Metric, select_metrics
from tinysignal.model import DEFAULT_MODEL
from tinysignal.remote import Place, Url, fetched, place, stored

Process = Callable[[Signal, int], Any]
"""Signal (channels, time) and its rate in Hz to the processed signal of the same shape."""

_LIMIT_DB = 100.0  # so that a file that is already clean does not make the means infinite

Outcome = tuple[FileScores | None, list[Failure]]


@dataclass(frozen=True)
class ModelProcess:
    """A denoiser by its model's path or name, and its options; workers load it once each."""

    model: str
    options: DenoiseOptions = field(default_factory=DenoiseOptions)

    def __call__(self, signal: Signal, sample_rate_hz: int) -> Signal:
        """Denoise (channels, time)."""
        return _load_once(self)(signal, sample_rate_hz=sample_rate_hz)


@cache
def _load_once(process: ModelProcess) -> Denoiser:
    return Denoiser.load(process.model, **vars(process.options))


def evaluate_denoiser(
    model: str | Path = DEFAULT_MODEL,
    *,
    noisy: str | Place | None = None,
    clean: str | Place | None = None,
    pairs: str | Place | Iterable[Pair] | None = None,
    metrics: Sequence[str] | None = None,
    jobs: int | None = None,
    save_dir: str | Place | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    engine: Engine | None = None,
    **options: Any,
) -> Evaluation:
    """Score a denoiser on noisy recordings whose clean versions are known.

    Pass two folders, ``noisy`` and ``clean``, whose files have the same names, or ``pairs``.

    Parameters
    ----------
    model : str or Path
        See `Denoiser.load`.
    noisy, clean : str, Path, Url or None
        Folders or their URLs, see `match_folders`. A file without its counterpart is a failure of
        the result.
    pairs : str, Path, Url, iterable of Pair or None
        A CSV file, see `read_pairs`, or the pairs themselves.
    metrics, jobs, save_dir, on_progress, engine
        See `evaluate_pairs`. ``save_dir`` is made if it is missing.
    **options
        The fields of `DenoiseOptions`.

    Returns
    -------
    Evaluation

    Raises
    ------
    ConfigError
        Neither two folders nor pairs, or both; an unknown metric; an option out of its bounds.
    DataError
        Nothing to evaluate, or pairs that cannot be read.
    ModelError
        The model cannot be used.
    FileError
        ``save_dir`` cannot be made.
    MissingExtraError
        A metric that was asked for is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tinysignal import audio
    >>> from tinysignal.evaluation import evaluate_denoiser
    >>> rng = np.random.default_rng(0)
    >>> for folder, level in (("clean", 0.0), ("noisy", 0.01)):
    ...     Path(folder).mkdir()
    ...     tone = 0.1 * np.sin(np.arange(16000) / 20) + level * rng.normal(size=16000)
    ...     audio.write(f"{folder}/tone.wav", tone, sample_rate_hz=16000)
    >>> found = evaluate_denoiser(noisy="noisy", clean="clean", metrics=["snr"])
    >>> round(found.summary()["snr"].noisy.mean), len(found.failures)
    (17, 0)
    """
    process = ModelProcess(str(model), DenoiseOptions(**options))
    _load_once(process)  # a model that cannot be used fails here, once, and not at every file
    listed, unmatched = _listed(noisy, clean, pairs)
    return evaluate_pairs(
        process,
        listed,
        metrics=metrics,
        jobs=jobs,
        failures=unmatched,
        save_dir=save_dir,
        on_progress=on_progress,
        engine=engine,
    )


def _listed(
    noisy: str | Place | None,
    clean: str | Place | None,
    pairs: str | Place | Iterable[Pair] | None,
) -> tuple[list[Pair], list[Failure]]:
    if pairs is not None and noisy is None and clean is None:
        if isinstance(pairs, str | Path | Url):
            return read_pairs(place(pairs)), []
        return list(pairs), []
    if pairs is None and noisy is not None and clean is not None:
        return match_folders(place(noisy), place(clean))
    raise ConfigError("expected a folder of noisy and one of clean recordings, or pairs alone.")


def evaluate_pairs(
    process: Process,
    pairs: Iterable[Pair],
    *,
    metrics: Sequence[str] | None = None,
    jobs: int | None = None,
    failures: Iterable[Failure] = (),
    save_dir: str | Place | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    engine: Engine | None = None,
) -> Evaluation:
    """Score noisy recordings before and after a denoiser, against their clean targets.

    A file that cannot be read, processed or scored becomes a failure, and so does a metric that
    gives no score for it; the others go on. A metric counts in the means of a file only where it
    scored both the noisy and the denoised signal.

    Parameters
    ----------
    process : callable
        ``process(signal, sample_rate_hz)``, float32 (channels, time) to the same shape. With
        more than one job it must be picklable, and a script that calls this must guard its
        entry with ``if __name__ == "__main__"``.
    pairs : iterable of Pair
    metrics : sequence of str, optional
        Names of `METRICS`; all that are installed where not given.
    jobs : int or None
        Processes; None for 1, and with Ray for one for each processor. The result does not depend
        on it.
    failures : iterable of Failure
        What failed before, for instance in `match_folders`; listed first.
    save_dir : str, Path or Url, optional
        Folder to keep the denoised signals in, as 32-bit float WAV files under their pairs' names;
        made if it is missing.
    on_progress : callable, optional
        Called with the numbers of pairs done and of all pairs.
    engine : Engine, optional
        Whether Ray does the work, on its workers. The result does not depend on it.

    Returns
    -------
    Evaluation

    Raises
    ------
    ConfigError
        An unknown metric, fewer than one job, or a process that cannot be pickled.
    MissingExtraError
        A metric that was asked for is not installed.
    DataError
        Two pairs of one name, or a worker process died.
    FileError
        ``save_dir`` cannot be made.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tinysignal import audio
    >>> from tinysignal.evaluation import Pair, evaluate_pairs
    >>> rng = np.random.default_rng(0)
    >>> audio.write("c.wav", rng.normal(0, 0.1, 8000), sample_rate_hz=8000)
    >>> audio.write("n.wav", 2 * audio.read("c.wav")[0], sample_rate_hz=8000)
    >>> pair = Pair(name="loud", noisy=Path("n.wav"), clean=Path("c.wav"))
    >>> found = evaluate_pairs(lambda signal, rate_hz: signal / 1.9, [pair], metrics=["snr"])
    >>> round(found.summary()["snr"].denoised.mean)
    26
    """
    chosen = select_metrics(metrics)
    work_list = _with_unique_names(pairs)
    names = tuple(metric.name for metric in chosen)
    kept = None if save_dir is None else place(save_dir)
    if kept is not None:
        make_folder(kept)
    work = partial(_evaluate_pair, process, names, kept)
    outcomes: dict[int, Outcome] = {}
    with closing(_outcomes(work, work_list, jobs, engine)) as made:
        for index, outcome in made:
            outcomes[index] = outcome
            if on_progress is not None:
                on_progress(len(outcomes), len(work_list))
    files: list[FileScores] = []
    failed = list(failures)
    for _, (scores, problems) in sorted(outcomes.items(), key=itemgetter(0)):
        if scores is not None:
            files.append(scores)
        failed.extend(problems)
    return Evaluation(metrics=tuple(chosen), files=tuple(files), failures=tuple(failed))


def _with_unique_names(pairs: Iterable[Pair]) -> list[Pair]:
    listed = list(pairs)
    repeated = sorted(n for n, count in Counter(pair.name for pair in listed).items() if count > 1)
    if repeated:
        raise DataError(f"{len(repeated)} names stand for more than one pair: {repeated[0]}, ...")
    return listed


def _outcomes(
    work: Callable[[Pair], Outcome], pairs: list[Pair], jobs: int | None, engine: Engine | None
) -> Generator[tuple[int, Outcome], None, None]:
    """Outcomes as they come, each with the index of its pair."""
    if jobs is not None and jobs < 1:
        raise ConfigError(f"{jobs} jobs, expected 1 or more.")
    if engine is not None and engine.is_ray:
        _check_sendable(work, "jobs=1 and no engine")
        yield from _outcomes_by_ray(work, pairs, jobs, engine)
        return
    if jobs in (None, 1) or len(pairs) < 2:
        yield from enumerate(map(work, pairs))
        return
    _check_sendable(work, "jobs=1")
    # Spawned, not forked: onnxruntime's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs or 1, len(pairs)), mp_context=context) as pool:
        try:
            yield from enumerate(pool.map(work, pairs))
        except BrokenProcessPool:
            raise DataError(
                "a worker process died, for lack of memory or in a metric's C code. Run with one "
                "job to see at which file."
            ) from None


def _outcomes_by_ray(
    work: Callable[[Pair], Outcome], pairs: list[Pair], jobs: int | None, engine: Engine
) -> Iterator[tuple[int, Outcome]]:
    with (
        joined(engine, workers=jobs) as cluster,
        closing(cluster.map(partial(_Evaluating, work), pairs)) as made,
    ):
        for index, result in made:
            if isinstance(result, Fault):
                failure = Failure(file=pairs[index].name, metric=None, reason=result.message)
                yield index, (None, [failure])
            else:
                yield index, result


class _Evaluating:
    """What a worker of Ray does with each pair."""

    def __init__(self, work: Callable[[Pair], Outcome]) -> None:
        self._work = work

    def __call__(self, pair: Pair, check: Check) -> Outcome | Fault:
        scores, failures = self._work(pair)
        if scores is not None:
            return scores, failures
        fault = Fault.of(failures[0].reason, pair.noisy, pair.clean)
        return fault if fault.missing else (scores, failures)


def _check_sendable(work: Callable[[Pair], Outcome], instead: str) -> None:
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"the process cannot be sent to other processes ({error}). Pass {instead}, or a "
            "function of a module."
        ) from None


def _evaluate_pair(
    process: Process, names: tuple[str, ...], save_dir: Place | None, pair: Pair
) -> Outcome:
    try:
        noisy, clean, rate_hz = _read_pair(pair)
        denoised = _process(process, noisy, rate_hz)
        if save_dir is not None:
            _save(save_dir, pair, denoised, rate_hz)
        input_snr_db = _file_score(snr(noisy, clean))
    except (TinysignalError, OSError) as error:
        return None, [Failure(file=pair.name, metric=None, reason=str(error))]
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    failures = []
    for metric in (METRICS[name] for name in names):
        try:
            scores = [_score(metric, signal, clean, rate_hz) for signal in (noisy, denoised)]
        except SignalError as error:
            failures.append(Failure(file=pair.name, metric=metric.name, reason=str(error)))
            continue
        before.update(scores[0])
        after.update(scores[1])
    scored = FileScores(
        name=pair.name,
        sample_rate_hz=rate_hz,
        channels=noisy.shape[0],
        duration_s=noisy.shape[1] / rate_hz,
        input_snr_db=input_snr_db,
        noisy=before,
        denoised=after,
    )
    return scored, failures


def _read_pair(pair: Pair) -> tuple[Signal, Signal, int]:
    with fetched(pair.noisy) as path:
        noisy, rate_hz = audio.read(path)
    with fetched(pair.clean) as path:
        clean, clean_rate_hz = audio.read(path)
    if rate_hz != clean_rate_hz:
        raise DataError(f"noisy at {rate_hz} Hz, clean at {clean_rate_hz} Hz: expected one rate.")
    if noisy.shape[0] != clean.shape[0]:
        raise DataError(
            f"noisy has {noisy.shape[0]} channels, clean {clean.shape[0]}: expected the same."
        )
    return *cut_alike(noisy, clean, sample_rate_hz=rate_hz), rate_hz


def _process(process: Process, noisy: Signal, rate_hz: int) -> Signal:
    try:
        denoised = np.asarray(process(noisy.copy(), rate_hz))
    except TinysignalError:
        raise
    except Exception as error:  # anybody's denoiser: its errors share no base
        raise DataError(f"the denoiser failed: {type(error).__name__}: {error}.") from error
    if denoised.shape != noisy.shape:
        raise DataError(
            f"the denoiser answered shape {noisy.shape} with {denoised.shape}, expected the same."
        )
    return audio.check_signal(denoised, name="denoised signal")


def _score(metric: Metric, signal: Signal, clean: Signal, rate_hz: int) -> dict[str, float]:
    scores = metric.score(signal, clean, rate_hz)
    return {
        column.key: _file_score(values)
        for column, values in zip(metric.columns, scores, strict=True)
    }


def _file_score(scores: Scores) -> float:
    return float(np.clip(scores, -_LIMIT_DB, _LIMIT_DB).mean())


def _save(save_dir: Place, pair: Pair, denoised: Signal, rate_hz: int) -> None:
    path = save_dir / f"{pair.name}.wav"
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with stored(path) as local:
        audio.write(local, denoised, sample_rate_hz=rate_hz, subtype="FLOAT")
