"""Sound from stdin to stdout as it comes: bare samples, or a WAV file through a pipe."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, BinaryIO

import numpy as np

from tinysignal.audio.pcm import PcmFormat, WavHead, is_chunk
from tinysignal.cli.terminal import Console
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError

_MOST_BYTES = 1 << 16  # of one block


@dataclass
class Flow:
    """Samples on their way from one pipe to another.

    Parameters
    ----------
    pcm : PcmFormat
    denoiser : Denoiser
    sink : binary file
        Gets what is ready after each block, at once.
    """

    pcm: PcmFormat
    denoiser: Denoiser
    sink: BinaryIO
    samples: int = 0
    clipped: int = 0
    invalid: int = 0
    odd_bytes: int = 0
    _rest: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self._stream = self.denoiser.stream(
            sample_rate_hz=self.pcm.sample_rate_hz, channels=self.pcm.channels
        )

    @property
    def latency_ms(self) -> float:
        """The longest that a sample waits."""
        return 1000 * self._stream.latency_s

    def feed(self, data: bytes) -> None:
        """Take some bytes, and write what is ready."""
        known = self._rest + data
        whole = len(known) // self.pcm.frame_bytes * self.pcm.frame_bytes
        self._rest = known[whole:]
        block = self.pcm.decode(known[:whole])
        if not np.isfinite(block).all():  # as some drivers give at their start
            self.invalid += 1
            block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        self.samples += block.shape[1]
        self._write(self._stream.feed(block))

    def end(self) -> None:
        """Write the rest."""
        self.odd_bytes = len(self._rest)
        self._write(self._stream.flush())

    def tell(self, console: Console) -> None:
        """A line on what was done, and one for each note."""
        console.print(f"- -> -: {self.samples / self.pcm.sample_rate_hz:.1f} s", markup=False)
        for count, note in (
            (self.clipped, "samples beyond full scale were clipped"),
            (self.invalid, "blocks with NaN, which count as silence there"),
            (self.odd_bytes, "bytes at the end are no whole sample and were dropped"),
        ):
            if count:
                console.print(f"-: {count} {note}", markup=False)

    def _write(self, block: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        if block.shape[1] == 0:
            return
        if not self.pcm.is_float:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1))
        self.sink.write(self.pcm.encode(block))
        self.sink.flush()


def denoise_raw(pcm: PcmFormat, denoiser: Denoiser, console: Console) -> int:
    """Bare samples from stdin to stdout, until the input ends or Ctrl-C."""
    flow = Flow(pcm, denoiser, sys.stdout.buffer)
    console.print(
        f"{pcm.sample_rate_hz} Hz, {pcm.channels} channels, {pcm.kind}; "
        f"{flow.latency_ms:.0f} ms of latency",
        markup=False,
    )
    for data in _until_interrupted(_stdin().read1):
        flow.feed(data)
    flow.end()
    flow.tell(console)
    return 0


def denoise_wav(head: WavHead, denoiser: Denoiser, console: Console) -> int:
    """The rest of a WAV file from stdin to stdout, whose head is known.

    The head and what follows the samples are passed on as they are: length and kind of the samples
    stay, so all that they say still holds.
    """
    assert head.pcm is not None
    source, sink = _stdin(), sys.stdout.buffer
    flow = Flow(head.pcm, denoiser, sink)
    sink.write(head.content)
    sink.flush()
    left = head.data_bytes
    after = b""
    while left is None or left > 0:
        data = source.read1(_MOST_BYTES if left is None else min(left, _MOST_BYTES))
        if not data:
            break
        flow.feed(data)
        left = None if left is None else left - len(data)
        if left == 0 and not head.is_sure:
            # A length that may be a placeholder: what follows is a chunk, or more samples.
            after = source.read(8)
            if after and not is_chunk(after):
                flow.feed(after)
                after, left = b"", None
    flow.end()
    if flow.samples == 0:
        raise AudioFileError("-: there are no samples in it.")
    for data in (after, *iter(lambda: source.read1(_MOST_BYTES), b"")):
        sink.write(data)
    sink.flush()
    if left and head.is_sure:
        raise AudioFileError(
            f"-: truncated: {left} bytes fewer than its header says. What came was denoised."
        )
    flow.tell(console)
    return 0


def _stdin() -> io.BufferedReader:
    assert isinstance(sys.stdin.buffer, io.BufferedReader)
    return sys.stdin.buffer


def _until_interrupted(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """What is read, until the end or Ctrl-C, which is taken between two blocks."""
    reading = ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True
        if reading:
            raise KeyboardInterrupt

    former = signal.signal(signal.SIGINT, end)
    try:
        while not ended:
            reading = True
            data = read(_MOST_BYTES)
            reading = False
            if not data:
                return
            yield data
    except KeyboardInterrupt:
        return
    finally:
        reading = False
        signal.signal(signal.SIGINT, former)
