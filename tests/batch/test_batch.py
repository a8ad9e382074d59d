"""What is done again and what is not; what one file's fault does to the others."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onset import save_onset_model
from tinysignal import audio
from tinysignal.batch import FileOptions, denoise_folder, outcomes_of, plan_work, run_batch
from tinysignal.batch.record import NAME
from tinysignal.denoiser import Denoiser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "deep/b.wav"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(name)).normal(0, 0.1, 8000)
        audio.write(path, noise, sample_rate_hz=16_000)
    return tmp_path / "in"


@pytest.fixture
def again(folder: Path, onset_model: Path) -> Callable[..., list[str]]:
    """Denoise the folder with options and say what became of its files."""

    def run(model: Path = onset_model, stored: Any = None, **options: Any) -> list[str]:
        denoiser = Denoiser.load(model, **options)
        found = denoise_folder(folder, folder.parent / "out", denoiser=denoiser, options=stored)
        return [outcome.status for outcome in found]

    return run


def test_the_same_run_does_nothing_and_another_does_all(
    again: Callable[..., list[str]], tmp_path: Path
) -> None:
    other = save_onset_model(tmp_path / "other.onnx", lookahead_frames=1)
    both, none = ["done", "done"], ["skipped", "skipped"]
    assert again() == both
    assert again() == none
    for change in (
        {"mix": 0.5},
        {"attenuation_limit_db": 12},
        {"channel_mode": "independent"},
        {"stored": FileOptions(subtype="FLOAT")},
        {"model": other},
        {},
    ):
        assert again(**change) == both, change
        assert again(**change) == none, change


def test_a_model_that_was_trained_anew_under_its_name_does_all(
    again: Callable[..., list[str]], tmp_path: Path
) -> None:
    model = save_onset_model(tmp_path / "m.onnx")
    assert again(model=model) == ["done", "done"]
    save_onset_model(tmp_path / "m.onnx", lookahead_frames=1)
    assert again(model=model) == ["done", "done"]


def test_a_source_that_was_replaced_is_done_again_though_it_is_older(
    again: Callable[..., list[str]], folder: Path
) -> None:
    assert again() == ["done", "done"]
    audio.write(folder / "a.wav", np.zeros(5000), sample_rate_hz=16_000)
    os.utime(folder / "a.wav", (1e9, 1e9))
    assert again() == ["done", "skipped"]
    assert again() == ["skipped", "skipped"]


def test_an_output_of_unknown_origin_is_kept_if_it_is_newer(
    again: Callable[..., list[str]], folder: Path
) -> None:
    out = folder.parent / "out"
    assert again() == ["done", "done"]
    (out / NAME).unlink()
    audio.write(out / "deep" / "b.wav", np.zeros(77), sample_rate_hz=16_000)  # somebody's edit
    assert again(mix=0.5) == ["skipped", "skipped"]
    os.utime(folder / "a.wav", (4e9, 4e9))
    (out / "deep" / "b.wav").unlink()
    assert again(mix=0.5) == ["done", "done"]


@pytest.mark.parametrize(
    "damage", [b"\xff\x00{", b'{"output": "a.wav"}\n[]\n7\n', b"[" * 100_000, b""]
)
def test_a_damaged_record_is_mended_by_the_next_run(
    damage: bytes, again: Callable[..., list[str]], folder: Path
) -> None:
    assert again() == ["done", "done"]
    record = folder.parent / "out" / NAME
    record.write_bytes(record.read_bytes() + damage)
    assert again() == ["skipped", "skipped"]
    assert again(mix=0.5) == ["done", "done"]
    record.write_bytes(damage + b"\n" + record.read_bytes())
    assert again(mix=0.5) == ["skipped", "skipped"]


def test_two_runs_may_share_a_folder(folder: Path, onset_model: Path, tmp_path: Path) -> None:
    denoiser = Denoiser.load(onset_model)
    for i in range(20):
        (folder / f"{i}.wav").write_bytes((folder / "a.wav").read_bytes())
    runs = [
        threading.Thread(
            target=run_batch,
            args=(plan_work(sorted(folder.glob("*.wav"))[half::2], out_folder=tmp_path), denoiser),
        )
        for half in range(2)
    ]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    lines = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert sorted(line["output"] for line in lines) == sorted(
        path.name for path in folder.glob("*.wav")
    )
    work = plan_work(folder.glob("*.wav"), out_folder=tmp_path)
    assert {outcome.status for outcome in run_batch(work, denoiser)} == {"skipped"}


def test_a_folder_that_takes_no_record_gets_its_sounds(
    again: Callable[..., list[str]], folder: Path
) -> None:
    (folder.parent / "out" / NAME).mkdir(parents=True)
    assert again() == ["done", "done"]
    assert again() == ["skipped", "skipped"]


@pytest.mark.parametrize("change", ["grows", "is touched", "is gone"])
def test_a_source_that_changes_while_it_is_read_fails_and_leaves_no_output(
    change: str, folder: Path, onset_model: Path, tmp_path: Path
) -> None:
    source = folder / "a.wav"

    def meddle(seconds: float) -> None:
        if change == "grows":
            with source.open("ab") as file:
                file.write(b"more")
        elif change == "is touched":
            os.utime(source, (2e9, 2e9))
        else:
            source.unlink(missing_ok=True)

    work = plan_work([source], out_folder=tmp_path / "out")
    (outcome,) = run_batch(work, Denoiser.load(onset_model), make_folders=True, on_seconds=meddle)
    assert outcome.status == "failed"
    assert str(outcome.error).startswith(f"{source}: changed while it was read.")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unforeseen_error_ends_one_file_and_asks_for_a_report(
    folder: Path, onset_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(source: Path, target: Path, picture: Path) -> None:
        if source.name == "a.wav":
            raise RuntimeError("no such\nthing")

    monkeypatch.setattr("tinysignal.batch.run.save_before_after", explode)
    work = plan_work([folder], out_folder=tmp_path / "out", plot=True)
    found = run_batch(work, Denoiser.load(onset_model), make_folders=True)
    assert [outcome.status for outcome in found] == ["failed", "done"]
    error = str(found[0].error)
    assert error.startswith(f"{folder / 'a.wav'}: unexpected error (RuntimeError: no such thing;")
    assert "report" in error
    assert "\n" not in error


def test_outcomes_come_one_by_one_and_in_order(
    folder: Path, onset_model: Path, tmp_path: Path
) -> None:
    """The plan may be endless: no more than a few files are begun before the first is told."""
    begun = 0

    def endless() -> Any:
        nonlocal begun
        while True:
            yield from plan_work([folder / "a.wav"], out_folder=tmp_path / str(begun))
            begun += 1

    outcomes = outcomes_of(endless(), Denoiser.load(onset_model), jobs=2, make_folders=True)
    told = [next(outcomes).work.target.parent.name for _ in range(5)]
    assert told == [str(i) for i in range(5)]
    assert begun < 40
    outcomes.close()
