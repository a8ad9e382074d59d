"""The same work on the workers of a Ray cluster, see `tinysignal.cluster`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from tinysignal.batch.plan import Work
from tinysignal.batch.record import Records
from tinysignal.batch.run import Outcome, denoise_one, outcomes_of
from tinysignal.cluster import Check, Engine, Fault, joined
from tinysignal.denoise_file import FileOptions
from tinysignal.denoiser import Denoiser
from tinysignal.errors import FileError
from tinysignal.files import make_folder
from tinysignal.remote import Place, Url, bytes_of
from tinysignal.temporaries import sweep_again, temporary_file

_LOOKS = 16  # files that are looked at together: a shared folder answers slowly


def outcomes_by(
    engine: Engine,
    work: list[Work],
    denoiser: Denoiser,
    options: FileOptions | None = None,
    *,
    jobs: int | None = None,
    overwrite: bool = False,
    replace_read_only: bool = False,
    make_folders: bool = False,
    on_seconds: Callable[[float], None] = lambda seconds: None,
    new_records: bool = True,
) -> Generator[Outcome, None, None]:
    """As `outcomes_of`, by the engine that was chosen.

    Parameters
    ----------
    engine : Engine
        Ray's outcomes come as they end: first what is skipped, then the others in any order.
    jobs : int or None
        Files at once; None for 1, and with Ray for one for each processor.
    work, denoiser, options, overwrite, replace_read_only, make_folders, on_seconds, new_records
        As in `outcomes_of`.

    Yields
    ------
    Outcome

    Raises
    ------
    FileError
        As `outcomes_of`.
    ConfigError, MissingExtraError
        As `tinysignal.cluster.joined`.
    """
    if not engine.is_ray:
        yield from outcomes_of(
            work,
            denoiser,
            options,
            jobs=jobs or 1,
            overwrite=overwrite,
            replace_read_only=replace_read_only,
            make_folders=make_folders,
            on_seconds=on_seconds,
            new_records=new_records,
        )
        return
    left: list[Work] = []
    records = Records(denoiser, options)
    yield from _settled(work, None if overwrite else records, left)
    if not left:
        return
    folders = dict.fromkeys(item.target.parent for item in left)
    if make_folders:
        for folder in folders:
            make_folder(folder)
    with _swept(folders), joined(engine, workers=jobs) as cluster, _sign(left[0]) as sign:
        prepare = partial(
            _Denoising,
            denoiser,
            denoiser.checksum,
            options,
            replace_read_only=replace_read_only,
            new_records=new_records,
            sign=sign,
        )
        made = cluster.map(prepare, left, weigh=_bytes, again=_is_passing)
        with closing(made), closing(records):
            for index, result in made:
                outcome = _told(left[index], result)
                if outcome.report is not None:
                    on_seconds(outcome.report.duration_s)
                # A store's record is written in pieces, which a worker may not live to do.
                if outcome.status == "done" and isinstance(outcome.work.target, Url):
                    records.add(outcome.work, new=new_records)
                yield outcome


def _settled(work: list[Work], records: Records | None, left: list[Work]) -> Iterator[Outcome]:
    """What becomes of work that nobody has to do; ``left`` gets the rest."""

    def look(item: Work) -> Outcome | None:
        if item.clash is not None:
            return Outcome(item, "failed", error=f"{item.names[0]}: {item.clash}")
        try:
            if records is not None and records.is_done(item):
                return Outcome(item, "skipped")
        except FileError as error:
            return Outcome(item, "failed", error=str(error))
        return None

    pool = ThreadPoolExecutor(_LOOKS)
    try:
        for item, outcome in zip(work, pool.map(look, work), strict=True):
            if outcome is None:
                left.append(item)
            else:
                yield outcome
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _swept(folders: Iterable[Place]) -> Iterator[None]:
    """What workers leave that died on this machine is removed after the run."""
    try:
        yield
    finally:
        for folder in folders:
            if isinstance(folder, Path):
                sweep_again(folder)


@contextmanager
def _sign(item: Work) -> Iterator[Path | None]:
    """A hidden file in a folder of outputs: a worker that does not see it has another folder."""
    if isinstance(item.target, Url):
        yield None
        return
    try:
        place = temporary_file(item.target.absolute(), mode=0o600)
        path = place.__enter__()
    except OSError:  # each file will tell
        yield None
        return
    try:
        yield path
    finally:
        place.__exit__(None, None, None)


def _bytes(item: Work) -> int:
    return bytes_of(item.source)


def _is_passing(result: Outcome | Fault) -> bool:
    return isinstance(result, Outcome) and result.passing


def _told(item: Work, result: Outcome | Fault) -> Outcome:
    if isinstance(result, Fault):
        return Outcome(item, "failed", error=result.about(item.names[0]))
    return replace(result, work=item)


class _Denoising:
    """What a worker does with each item; made once."""

    def __init__(
        self,
        denoiser: Denoiser,
        checksum: str,
        options: FileOptions | None,
        *,
        replace_read_only: bool,
        new_records: bool,
        sign: Path | None,
    ) -> None:
        if denoiser.checksum != checksum:
            raise FileError(f"a worker has another model of the name {denoiser.spec.name}.")
        if sign is not None and not sign.exists():
            raise FileError(
                f"a worker has another folder {sign.parent} than this machine. All machines of "
                "the cluster have to see the same one at this path."
            )
        self._denoiser = denoiser
        self._options = options
        self._replace_read_only = replace_read_only
        self._new_records = new_records
        self._records = Records(denoiser, options)

    def __call__(self, item: Work, check: Check) -> Outcome | Fault:
        outcome = denoise_one(
            item, self._denoiser, self._options, lambda seconds: check(), self._replace_read_only
        )
        if outcome.error is None:
            if not isinstance(item.target, Url):
                self._records.add(item, new=self._new_records)
            return outcome
        fault = Fault.of(outcome.error, item.source, item.target.parent)
        return fault if fault.missing else outcome
