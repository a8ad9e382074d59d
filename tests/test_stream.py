"""Claims about streams that are fed together: each gets its own answer, for less work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onset import save_onset_model
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ModelError, SignalError
from tinysignal.model import DenoisingModel
from tinysignal.stream import DenoiserStream, feed_together

ROUNDING = 2e-6
KINDS: list[dict[str, Any]] = [
    {"sample_rate_hz": 16_000},
    {"sample_rate_hz": 16_000, "mix": 0.7},
    {"sample_rate_hz": 22_050},
    {"sample_rate_hz": 48_000, "channels": 2},
    {"sample_rate_hz": 48_000, "channels": 2, "channel_mode": "independent"},
]


@pytest.fixture(scope="module")
def bundled() -> Denoiser:
    return Denoiser.load()


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    folder = tmp_path_factory.mktemp("late")
    return Denoiser.load(save_onset_model(folder / "late.onnx", lookahead_frames=2))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Channels of every run of a network."""
    counted: list[int] = []
    run = DenoisingModel.run

    def counting(self: DenoisingModel, spectrum: Any, *rest: Any) -> Any:
        counted.append(len(spectrum))
        return run(self, spectrum, *rest)

    monkeypatch.setattr(DenoisingModel, "run", counting)
    return counted


def sound(stream: DenoiserStream, samples: int, seed: int) -> np.ndarray:
    """Noise of a level of its own, on an offset of its own, float32 (channels, samples)."""
    rng = np.random.default_rng(seed)
    level, offset = 10 ** rng.uniform(-3, -0.5), rng.choice([0, 0.3])
    noise = rng.normal(offset, level, (stream._channels, samples))
    return np.asarray(noise, np.float32)


@settings(max_examples=25)
@given(data=st.data())
def test_each_stream_gets_the_answer_that_it_gets_alone(
    bundled: Denoiser, late: Denoiser, data: st.DataObject
) -> None:
    kinds = data.draw(st.lists(st.tuples(st.booleans(), st.sampled_from(KINDS)), min_size=2))
    opened = lambda: [(late if l else bundled).stream(**kind) for l, kind in kinds]  # noqa: E731, E741
    alone, together = opened(), opened()
    sounds = [sound(stream, 20_000, seed) for seed, stream in enumerate(alone)]
    found: list[list[np.ndarray]] = [[] for _ in kinds]
    lengths = st.lists(st.sampled_from([0, 100, 256, 768]), min_size=len(kinds))
    start = [0] * len(kinds)
    for _ in range(data.draw(st.integers(1, 25))):
        blocks = []
        for i, length in enumerate(data.draw(lengths)[: len(kinds)]):
            blocks.append(sounds[i][:, start[i] : start[i] + length])
            start[i] += blocks[i].shape[1]
        for i, answer in enumerate(feed_together(together, blocks)):
            assert isinstance(answer, np.ndarray)
            found[i].append(answer)
    for i, stream in enumerate(alone):
        given_to_it = sounds[i][:, : start[i]]
        expected = np.concatenate([stream.feed(given_to_it), stream.flush()], axis=1)
        whole = np.concatenate([*found[i], together[i].flush()], axis=1)
        np.testing.assert_allclose(whole, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_streams_of_one_kind_share_a_run(bundled: Denoiser, runs: list[int], rate_hz: int) -> None:
    streams = [bundled.stream(sample_rate_hz=rate_hz) for _ in range(7)]
    blocks = np.full((7, 1, rate_hz // 2), 0.1)
    feed_together(streams, blocks)
    runs.clear()
    feed_together(streams, blocks[..., : rate_hz // 100])
    assert runs == [7]


def test_one_that_has_just_begun_goes_alone(bundled: Denoiser, runs: list[int]) -> None:
    streams = [bundled.stream(sample_rate_hz=16_000) for _ in range(3)]
    blocks = np.full((3, 1, 256), 0.1)
    for _ in range(10):
        feed_together(streams, blocks)
    streams[1].reset()
    runs.clear()
    feed_together(streams, blocks)
    assert sorted(runs) == [1, 2]


def test_more_sound_than_fits_one_run_takes_several(bundled: Denoiser, runs: list[int]) -> None:
    streams = [bundled.stream(sample_rate_hz=16_000) for _ in range(40)]
    blocks = np.full((40, 1, 8192), 0.1)
    for _ in range(2):
        runs.clear()
        feed_together(streams, blocks)
    assert sum(runs) == 40
    assert max(runs) == (1 << 18) // (65 * 257)


def test_a_bad_block_is_the_error_of_its_own_stream(bundled: Denoiser) -> None:
    streams, alone = ([bundled.stream(sample_rate_hz=16_000) for _ in range(3)] for _ in range(2))
    good = sound(streams[0], 1024, 0)
    for block in (good, good):
        answers = feed_together(streams, [block, np.full((1, 1024), np.nan), block[:, :1024]])
        assert isinstance(answers[1], SignalError)
        for i in (0, 2):
            np.testing.assert_allclose(answers[i], alone[i].feed(block), atol=ROUNDING)


def test_a_network_that_fails_for_one_fails_for_one(
    bundled: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = DenoisingModel.run

    def fragile(self: DenoisingModel, spectrum: Any, *rest: Any) -> Any:
        if np.abs(spectrum).max() > 100:
            raise ModelError("too loud")
        return run(self, spectrum, *rest)

    streams, alone = ([bundled.stream(sample_rate_hz=16_000) for _ in range(3)] for _ in range(2))
    sounds = [0.1 * sound(stream, 4096, seed) for seed, stream in enumerate(streams)]
    for _ in range(2):
        feed_together(streams, [x[:, :2048] for x in sounds])
    monkeypatch.setattr(DenoisingModel, "run", fragile)
    blocks = [sounds[0][:, 2048:], 500 * np.ones((1, 2048), np.float32), sounds[2][:, 2048:]]
    answers = feed_together(streams, blocks)
    assert isinstance(answers[1], ModelError)
    for i in (0, 2):
        assert isinstance(answers[i], np.ndarray)
        for x in (sounds[i][:, :2048], sounds[i][:, :2048], sounds[i][:, 2048:]):
            expected = alone[i].feed(x)
        np.testing.assert_allclose(answers[i], expected, atol=ROUNDING)


def test_a_stream_keeps_nothing_of_the_others(bundled: Denoiser) -> None:
    streams = [bundled.stream(sample_rate_hz=16_000) for _ in range(50)]
    for _ in range(10):
        feed_together(streams, np.full((50, 1, 256), 0.1))
    for array in (*streams[0]._state, streams[0]._synthesis._tail, streams[0]._analysis._pending):
        whole = array if array.base is None else array.base
        assert whole.nbytes == array.nbytes


def test_streams_and_blocks_are_as_many(bundled: Denoiser) -> None:
    with pytest.raises(ValueError, match="zip"):
        feed_together([bundled.stream(sample_rate_hz=16_000)], [])
