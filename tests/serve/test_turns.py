"""Claims about turns: what waits is computed together, and every stream gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysignal import Denoiser
from tinysignal.errors import SignalError, TinysignalError
from tinysignal.stream import DenoiserStream, feed_together

try:
    import anyio

    from tinysignal.serve.turns import Turns
except ModuleNotFoundError:
    pytest.skip("the service needs the 'serve' extra", allow_module_level=True)

JOBS = pytest.mark.parametrize("jobs", [1, 2])


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Blocks of every turn."""
    counted: list[int] = []

    def counting(streams: Sequence[DenoiserStream], blocks: Sequence[Any]) -> Any:
        counted.append(len(streams))
        return feed_together(streams, blocks)

    monkeypatch.setattr("tinysignal.serve.turns.feed_together", counting)
    return counted


def streams(model: Path, count: int) -> list[DenoiserStream]:
    denoiser = Denoiser.load(model)
    return [denoiser.stream(sample_rate_hz=16_000) for _ in range(count)]


def block(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (1, 640)).astype(np.float32)


@JOBS
def test_blocks_that_wait_go_in_one_turn(onset_model: Path, turns: list[int], jobs: int) -> None:
    async def ask() -> list[np.ndarray]:
        taken = Turns(anyio.CapacityLimiter(jobs))
        asked = [taken.feed(s, block(i)) for i, s in enumerate(streams(onset_model, 6))]
        return await asyncio.gather(*asked)

    answers = asyncio.run(ask())
    assert turns == [6]
    for i, stream in enumerate(streams(onset_model, 6)):
        np.testing.assert_array_equal(answers[i], stream.feed(block(i)))


@JOBS
def test_an_error_is_told_to_its_own_stream(onset_model: Path, jobs: int) -> None:
    async def ask() -> list[Any]:
        taken = Turns(anyio.CapacityLimiter(jobs))
        blocks = [block(0), np.full((1, 640), np.nan, np.float32), block(2)]
        asked = map(taken.feed, streams(onset_model, 3), blocks)
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = asyncio.run(ask())
    assert isinstance(second, SignalError)
    assert first.shape == third.shape == (1, 256)


@JOBS
def test_a_bug_in_a_turn_leaves_nobody_waiting(
    onset_model: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("no")

    async def ask() -> list[Any]:
        taken = Turns(anyio.CapacityLimiter(jobs))
        monkeypatch.setattr("tinysignal.serve.turns.feed_together", broken)
        one, other = streams(onset_model, 2)
        asked = (taken.feed(s, block(0)) for s in (one, other))
        failed = await asyncio.gather(*asked, return_exceptions=True)
        monkeypatch.undo()
        return [*failed, await taken.feed(other, block(0))]

    first, second, then = asyncio.run(asyncio.wait_for(ask(), 30))
    assert isinstance(first, TinysignalError)
    assert isinstance(second, TinysignalError)
    assert "ZeroDivisionError" in str(first)
    assert then.shape == (1, 256)


def test_a_client_that_goes_leaves_the_others_their_turn(
    onset_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Event(), threading.Event()

    def slow(*given: Any) -> Any:
        entered.set()
        assert go.wait(30)
        return feed_together(*given)

    monkeypatch.setattr("tinysignal.serve.turns.feed_together", slow)

    async def ask() -> np.ndarray:
        taken = Turns(anyio.CapacityLimiter(2))
        goes, stays = (
            asyncio.create_task(taken.feed(s, block(0))) for s in streams(onset_model, 2)
        )
        await asyncio.to_thread(entered.wait, 30)
        goes.cancel()
        go.set()
        return await stays

    assert asyncio.run(asyncio.wait_for(ask(), 30)).shape == (1, 256)


@JOBS
@pytest.mark.parametrize("pauses", range(6))
def test_a_block_is_taken_whenever_it_comes(onset_model: Path, jobs: int, pauses: int) -> None:
    async def ask() -> int:
        taken, [stream] = Turns(anyio.CapacityLimiter(jobs)), streams(onset_model, 1)
        for done in range(20):
            await taken.feed(stream, block(done))
            for _ in range(pauses):
                await asyncio.sleep(0)
        return done

    assert asyncio.run(asyncio.wait_for(ask(), 10)) == 19
