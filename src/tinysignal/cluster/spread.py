"""Items to workers, and their results, by Ray Data."""

from __future__ import annotations

import os
import pickle
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinysignal.cluster.engine import RETRIES, Engine
from tinysignal.errors import ConfigError, TinysignalError

Check = Callable[[], None]
"""To be called now and then: it raises what ends the work if the run was broken off."""

_MOST_ITEMS, _MOST_BYTES = 32, 8 << 20  # of what a worker is sent at once
_SHARES = 8  # of a worker in all items, at least: the last ones to end wait for little
_GRACE_S = 1.0  # for workers to remove what is half done


@dataclass(frozen=True)
class Fault:
    """Why an item has no result, and the files that its worker did not find."""

    message: str
    missing: tuple[Path, ...] = ()

    @classmethod
    def of(cls, message: str, *needed: object) -> Fault:
        """A fault, as a worker sees it, of an item that needs some files or URLs."""
        local = (path for path in needed if isinstance(path, Path))
        return cls(message, tuple(path for path in local if not path.exists()))

    def seen_from_here(self) -> Fault:
        """The same fault, as the machine that started the run sees it."""
        here = next((path for path in self.missing if path.exists()), None)
        if here is None:
            return self
        return Fault(
            f"{here} is here, but a worker does not find it. All machines of the cluster have to "
            "see it at this path."
        )

    def about(self, name: str) -> str:
        """The message, with the name of its item."""
        return self.message if name in self.message else f"{name}: {self.message}"


class Cluster:
    """A cluster that was joined; made by `joined`."""

    def __init__(self, engine: Engine, workers: int | None) -> None:
        self._retries = RETRIES if engine.retries is None else engine.retries
        self._workers = workers

    def map(
        self,
        prepare: Callable[[], Callable[[Any, Check], Any]],
        items: Sequence[Any],
        *,
        weigh: Callable[[Any], int] = lambda item: 0,
        again: Callable[[Any], bool] = lambda result: False,
    ) -> Generator[tuple[int, Any], None, None]:
        """Results as they come, each with the index of its item; one for every item.

        Parameters
        ----------
        prepare : callable
            Called once by each worker; what it answers is called with an item and a `Check` and
            gives its result. It, items and results have to be picklable.
        items : sequence
        weigh : callable
            Bytes of an item: a worker is sent several small ones at once.
        again : callable
            Whether a result is none yet, and the item is to be tried again.

        Yields
        ------
        (int, result or Fault)

        Raises
        ------
        ConfigError
            No worker starts.
        """
        waiting = dict(enumerate(items))
        payload = pickle.dumps(prepare)
        count = self._workers or _processors()
        most = max(1, min(_MOST_ITEMS, len(items) // (_SHARES * count)))
        for left in range(self._retries, -1, -1):
            if not waiting:
                return
            groups = list(_groups(waiting.items(), weigh, most))
            most = 1  # whose worker died goes alone, so that it takes no other item with it
            results = self._once(payload, groups, count, ahead=2 if left == self._retries else 1)
            with closing(results):
                for index, result in results:
                    if index in waiting and not (left and again(result)):
                        del waiting[index]
                        is_fault = isinstance(result, Fault)
                        yield index, result.seen_from_here() if is_fault else result
        for index in waiting:
            yield index, Fault(f"its worker died {self._retries + 1} times, for lack of memory?")

    def _once(
        self, payload: bytes, groups: list[list[tuple[int, Any]]], count: int, *, ahead: int
    ) -> Generator[tuple[int, Any], None, None]:
        """Results of the workers that lived."""
        import ray.data

        rows = [{"items": pickle.dumps(group)} for group in groups]
        pool = ray.data.ActorPoolStrategy(
            min_size=1,
            initial_size=min(count, len(rows)),
            max_size=self._workers,  # None: processors that join later work too
            max_tasks_in_flight_per_actor=ahead,
        )
        with _quiet_data():
            made = ray.data.from_items(rows, override_num_blocks=len(rows)).flat_map(
                _Worker,
                fn_constructor_args=[payload, str(Path.cwd())],
                compute=pool,
                num_cpus=1,
                # Ray would try for ever, with a file that kills its worker too.
                max_restarts=-1,
                max_task_retries=0,
            )
            found = iter(made.iter_rows())
            try:
                for row in found:
                    yield row["index"], pickle.loads(row["result"])
            except (GeneratorExit, KeyboardInterrupt):
                del found  # which is how Ray Data is told
                time.sleep(_GRACE_S)
                raise
            except ray.exceptions.RayError as error:
                # Results that lay on a lost machine: their items have none, and are tried again.
                _raise_if_none_starts(error)


class _StoppedError(BaseException):
    """The run is over; leave what is half done."""


class _Worker:
    """What a worker does; a fault in one item does not stop the others."""

    def __init__(self, payload: bytes, current_folder: str) -> None:
        import ray

        # So that relative paths mean the same; where there is no such folder, they are not found.
        with suppress(OSError):
            os.chdir(current_folder)
        self._is_over = getattr(ray.get_runtime_context(), "is_canceled", lambda: False)
        self._refused: Fault | None = None
        try:
            self._work = pickle.loads(payload)()
        except TinysignalError as error:
            self._refused = Fault(str(error))

    def __call__(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for index, item in pickle.loads(row["items"]):
            try:
                self._check()
                result = self._refused or self._work(item, self._check)
            except _StoppedError:
                return
            except TinysignalError as error:
                result = Fault(str(error))
            except Exception as error:  # noqa: BLE001 - a fault in one item must not end the others
                result = Fault(" ".join(f"{type(error).__name__}: {error}".split()))
            yield {"index": index, "result": pickle.dumps(result)}

    def _check(self) -> None:
        if self._is_over():
            raise _StoppedError


@contextmanager
def _quiet_data() -> Iterator[None]:
    """The same of Ray Data, without its progress bars; what dies is a gap in the results."""
    from ray.data import DataContext

    values = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "max_errored_blocks": -1,
    }
    context = DataContext.get_current()
    before = {name: getattr(context, name) for name in values}
    with warnings.catch_warnings():
        # The restarts of workers have no other name yet.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
        vars(context).update(values)
        try:
            yield
        finally:
            vars(context).update(before)


def _processors() -> int:
    """Of the cluster, now."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def _groups(
    items: Iterable[tuple[int, Any]], weigh: Callable[[Any], int], most: int
) -> Iterator[list[tuple[int, Any]]]:
    """Neighbours, several if they are small."""
    group: list[tuple[int, Any]] = []
    total = 0
    for index, item in items:
        weight = weigh(item)
        if group and (len(group) == most or total + weight > _MOST_BYTES):
            yield group
            group, total = [], 0
        group.append((index, item))
        total += weight
    if group:
        yield group


def _raise_if_none_starts(error: Exception) -> None:
    text = str(error)
    if "ModuleNotFoundError" in text or "ImportError" in text:
        line = next(line for line in reversed(text.splitlines()) if "Error" in line)
        raise ConfigError(
            f"the workers of the cluster cannot start ({line.strip():.200}). Install this version "
            "of tinysignal, with the extra ray, on all its machines."
        ) from None
