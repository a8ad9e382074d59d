"""ONNX Runtime sessions for files from strangers: bounded memory, bounded time, no noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from threading import Timer
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tinysignal.errors import ModelError
from tinysignal.model.folding import MOST_FOLDED_BYTES

MOST_MEMORY_BYTES = 1 << 30  # of the tensors of all sessions of a process
MOST_TRIAL_S = 20.0  # for what a model is asked as it is loaded

Array = NDArray[np.float32]


def open_session(content: bytes, *, threads: int, fold: bool) -> ort.InferenceSession:
    """A session of a model that `tinysignal.model.graph.read_graph` has let through.

    Parameters
    ----------
    content : bytes
        The file.
    threads : int
        Threads that one run may use.
    fold : bool
        Whether to work out now what only sees constants.

    Raises
    ------
    ModelError
        ONNX Runtime refuses it.
    """
    _bound_memory()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, once, below
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry(
        "optimization.constant_folding_max_output_size_in_bytes", str(MOST_FOLDED_BYTES)
    )
    try:
        return ort.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=None if fold else ["ConstantFolding"],
            enable_fallback=0,  # falling back prints to stdout
        )
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base but Exception
        raise ModelError(f"not a readable ONNX model ({_first_line(error)}).") from None


def run(
    session: ort.InferenceSession,
    inputs: Mapping[str, Array],
    shapes: Sequence[tuple[int, ...]],
    options: ort.RunOptions | None = None,
) -> list[Array]:
    """Run a session once.

    Parameters
    ----------
    session : InferenceSession
    inputs : mapping of str to float32
    shapes : sequence of tuple of int
        What the outputs must have.
    options : RunOptions or None
        See `time_limit`.

    Raises
    ------
    ModelError
        It does not run, or answers with other types or shapes.
    """
    try:
        answers: list[Array] = session.run(None, inputs, options)
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base but Exception
        raise ModelError(f"the network does not run ({_first_line(error)}).") from None
    for output, answer, shape in zip(session.get_outputs(), answers, shapes, strict=True):
        if answer.dtype != np.float32 or answer.shape != shape:
            [first, *_] = inputs.values()
            raise ModelError(
                f"the network answers {first.shape} with {answer.dtype} {output.name} of "
                f"{answer.shape}, expected float32 of {shape}."
            )
    return answers


@contextmanager
def time_limit(seconds: float = MOST_TRIAL_S) -> Iterator[ort.RunOptions]:
    """Options of runs that end with an error when the time is over."""
    options = ort.RunOptions()
    timer = Timer(seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()


@cache
def _bound_memory() -> None:
    """One allocator with a limit, for all sessions of the process."""
    place = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    with suppress(Exception):  # the program around us has made one: its limit holds
        ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": MOST_MEMORY_BYTES}))


def _first_line(error: Exception) -> str:
    text: Any = str(error).strip() or type(error).__name__
    return str(text.splitlines()[0][:200])
