"""Short blocks of many streams, computed together: whatever has come while the last ones were."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import anyio
import anyio.to_thread

from tinysignal.errors import TinysignalError
from tinysignal.stft import Signal
from tinysignal.stream import DenoiserStream, feed_together


class _Block(NamedTuple):
    stream: DenoiserStream
    samples: Signal
    answer: asyncio.Future[Signal]


class Turns:
    """Takes blocks as they come, and feeds those that wait to their streams in one turn.

    The busier the service, the more go together, and the less each costs.

    Parameters
    ----------
    workers : CapacityLimiter
        Turns at once. With one, a turn costs less than the way to its thread, and has none.
    """

    def __init__(self, workers: anyio.CapacityLimiter) -> None:
        self._workers = workers
        self._waiting: list[_Block] = []
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def feed(self, stream: DenoiserStream, samples: Signal) -> Signal:
        """What `DenoiserStream.feed` returns or raises; a stream waits for it before its next."""
        block = _Block(stream, samples, asyncio.get_running_loop().create_future())
        self._waiting.append(block)
        if self._busy < self._workers.total_tokens:
            self._busy += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await block.answer

    async def _work(self) -> None:
        try:
            await self._turns()
        finally:  # in the same step in which nothing waited: what comes now finds nobody busy
            self._busy -= 1

    async def _turns(self) -> None:
        while self._waiting:
            blocks, self._waiting = self._waiting, []
            streams, samples = [b.stream for b in blocks], [b.samples for b in blocks]
            try:
                if self._workers.total_tokens == 1:
                    answers = feed_together(streams, samples)
                else:
                    answers = await anyio.to_thread.run_sync(
                        feed_together, streams, samples, limiter=self._workers
                    )
            except Exception as error:  # noqa: BLE001 - nobody may wait for ever
                text = f"unexpected error ({type(error).__name__}: {error}). Please report it."
                answers = [TinysignalError(text)] * len(blocks)
            for block, answer in zip(blocks, answers, strict=True):
                if block.answer.cancelled():  # its client has gone
                    continue
                if isinstance(answer, TinysignalError):
                    block.answer.set_exception(answer)
                else:
                    block.answer.set_result(answer)
            await asyncio.sleep(0)  # who has an answer sends it, who has sent a block gets in
