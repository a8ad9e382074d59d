"""Tab: recordings before and after, at any strength, and what was removed."""

from __future__ import annotations

import json
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunningError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from tinysignal import audio
from tinysignal.app.overview import Overview
from tinysignal.app.settings import LONGEST_S, MOST_WORK_S
from tinysignal.app.site import Site, denoiser, in_one_line, told, url_of, web
from tinysignal.audio.formats import AudioInfo
from tinysignal.batch.plan import CLEAN, beside
from tinysignal.errors import AudioFileError, ConfigError, TinysignalError
from tinysignal.gain import DenoiseOptions, kept
from tinysignal.model import DEFAULT_MODEL
from tinysignal.remembered import Remembered, remember
from tinysignal.stft import Signal

NO_LIMIT_DB = 40  # the right end of the slider: no limit
_SHOWN_EVERY_S = 0.3
_HEARD_CHANNELS = 2  # of a recording with more, the page plays the first two
_FULL_SCALE = 32_767


@dataclass
class Take:
    """One recording on the page.

    Parameters
    ----------
    source : Path
        The upload.
    key : tuple of str
        What the answer depends on: source, model, channels.
    folder : Path
        Where what belongs to it lies.
    """

    source: Path
    key: tuple[str, str, str]
    folder: Path
    state: str = "waiting"  # waiting, working, done, failed
    note: str = ""
    total_s: float = 0.0
    done_s: float = 0.0
    heard: Remembered | None = None

    def to_json(self) -> dict[str, Any]:
        """What the page shows of it."""
        shown: dict[str, Any] = {
            "id": self.folder.name,
            "name": self.source.name,
            "state": self.state,
            "note": self.note,
            "total_s": self.total_s,
            "done_s": self.done_s,
        }
        if self.heard is not None:
            info = self.heard.info
            shown |= {
                "rate_hz": info.sample_rate_hz,
                "channels": min(info.channels, _HEARD_CHANNELS),
                "samples": sum(self.heard.sizes),
                "sound": url_of(self.folder / "heard.pcm"),
                "overview": url_of(self.folder / "overview.json"),
            }
        return shown


@dataclass
class Takes:
    """The recordings of one open page."""

    found: list[Take] = field(default_factory=list)

    def to_json(self, left_s: float | None = None) -> dict[str, Any]:
        """What the page shows."""
        return {"takes": [take.to_json() for take in self.found], "left_s": left_s}

    def remove(self) -> None:
        """Delete what was made of them."""
        for take in self.found:
            shutil.rmtree(take.folder, ignore_errors=True)


def build(site: Site) -> None:
    """The tab, in a Gradio context."""
    models = site.models("denoise")
    takes = gr.State(Takes(), delete_callback=Takes.remove)
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=300):
            files = gr.File(
                label="Recordings or films", file_count="multiple", height=150, elem_id="drop"
            )
            with gr.Accordion("Record with the microphone", open=False):
                recorded = gr.Audio(
                    sources=["microphone"], type="filepath", label="Microphone", elem_id="recorder"
                )
            limit = gr.Slider(
                0,
                NO_LIMIT_DB,
                value=NO_LIMIT_DB,
                step=1,
                label="Strength: noise falls by at most … dB",
                info=f"{NO_LIMIT_DB} is no limit. Voices keep their level.",
                elem_id="limit",
            )
            mix = gr.Slider(
                0, 1, value=1, step=0.05, label="Mix", info="0: as recorded.", elem_id="mix"
            )
            with gr.Accordion("Model and channels", open=False):
                model = gr.Dropdown(
                    [*models.items()], value=DEFAULT_MODEL, label="Model", elem_id="model"
                )
                mode = gr.Radio(
                    [
                        ("share one gain: keeps the stereo image", "shared"),
                        ("independent: a voice in each", "independent"),
                    ],
                    value="shared",
                    label="Channels",
                    elem_id="channels",
                )
        with gr.Column(scale=3, min_width=320):
            listen = gr.HTML(
                {"takes": [], "left_s": None},
                html_template=web("listen.html"),
                js_on_load=web("listen.js"),
                apply_default_css=False,
                elem_id="listen",
                kept=0.0,
                ready={},
            )
    given, strength = [files, recorded, model, mode, takes], [limit, mix]
    asked = {"fn": told(Work(site).all), "inputs": given, "outputs": [takes, listen]}
    for event in (files.upload, files.delete, files.clear, model.input, mode.input):
        event(**asked, show_progress="hidden", concurrency_limit=2, trigger_mode="always_last")
    recorded.change(**asked, show_progress="hidden", concurrency_limit=2)
    for slider in strength:
        slider.change(
            told(_kept),
            strength,
            listen,
            show_progress="hidden",
            queue=False,
            trigger_mode="always_last",
        )
    fetch = {"inputs": [takes, *strength], "outputs": listen, "show_progress": "hidden"}
    listen.download(told(_fetch), **fetch)


def strength_of(limit: float, mix: float) -> dict[str, Any]:
    """Fields of `DenoiseOptions` for the page's sliders."""
    limit_db = None if limit >= NO_LIMIT_DB else float(limit)
    return {"attenuation_limit_db": limit_db, "mix": float(mix)}


def _kept(limit: float, mix: float) -> Any:
    """The fraction of the recording that stays, for the player."""
    return gr.HTML(kept=kept(DenoiseOptions(**strength_of(limit, mix))))


@dataclass(frozen=True)
class Work:
    """Denoise what is new on the page, one recording after the other."""

    site: Site

    def all(
        self, files: list[str] | None, recorded: str | None, model: str, mode: str, old: Takes
    ) -> Iterator[tuple[Takes, Any]]:
        """What the page shows as the work goes on."""
        known = {take.key: take for take in old.found}
        keys = [(path, model, mode) for path in [*(files or []), *([recorded] if recorded else [])]]
        takes = Takes([known.get(key) or self._take(key) for key in dict.fromkeys(keys)])
        Takes([take for take in old.found if take not in takes.found]).remove()
        started_s = time.monotonic()
        new = [take for take in takes.found if take.state == "waiting"]
        yield takes, gr.HTML(takes.to_json())
        for take in new:
            yield from self._one(take, takes, new, started_s)

    def _take(self, key: tuple[str, str, str]) -> Take:
        take = Take(Path(key[0]), key, self.site.new_folder())
        try:
            take.total_s = self._checked(take.source).duration_s
        except (TinysignalError, OSError) as error:
            take.state, take.note = "failed", in_one_line(error, take.source)
        return take

    def _checked(self, source: Path) -> AudioInfo:
        info = audio.info(source)
        if info.duration_s > LONGEST_S:
            raise AudioFileError(
                f"{source.name}: {info.duration_s / 3600:.1f} hours, but the page takes "
                f"{LONGEST_S / 3600:g}. Use 'tinysignal denoise'."
            )
        return info

    def _one(
        self, take: Take, takes: Takes, new: list[Take], started_s: float
    ) -> Iterator[tuple[Takes, Any]]:
        take.state = "working"
        stop = threading.Event()
        pool = ThreadPoolExecutor(1)
        try:
            job = pool.submit(_hear, take, stop, self.site.ended)
            while True:
                try:
                    job.result(timeout=_SHOWN_EVERY_S)
                    break
                except StillRunningError:
                    pass
                spent_s = time.monotonic() - started_s
                if spent_s > MOST_WORK_S:
                    raise ConfigError(f"this took {MOST_WORK_S / 3600:g} hours and was ended.")
                yield takes, gr.HTML(takes.to_json(_left_s(new, spent_s)))
            take.state = "done"
        except (TinysignalError, OSError) as error:
            take.state, take.note = "failed", in_one_line(error, take.source)
        finally:
            stop.set()
            pool.shutdown()
        yield takes, gr.HTML(takes.to_json(_left_s(new, time.monotonic() - started_s)))


def _left_s(new: list[Take], spent_s: float) -> float | None:
    """Time left for what is not done, at the speed so far."""
    running = [take for take in new if take.state != "failed"]
    done_s = sum(take.done_s for take in running)
    rest_s = sum(take.total_s for take in running) - done_s
    return spent_s * rest_s / done_s if done_s > 0 and rest_s > 0 else None


class _EndedError(Exception):
    """Nobody waits for this any more."""


def _hear(take: Take, *ends: threading.Event) -> None:
    """Run the network over a recording; keep what the player needs."""
    info = audio.info(take.source)
    overview = Overview(info)
    with (take.folder / "heard.pcm").open("wb") as file:

        def on_pair(before: Signal, after: Signal) -> None:
            if any(end.is_set() for end in ends):
                raise _EndedError
            overview.add(before, after)
            both = np.concatenate([before[:_HEARD_CHANNELS], after[:_HEARD_CHANNELS]])
            whole = np.round(np.clip(both, -1, 1) * _FULL_SCALE).astype("<i2")
            file.write(np.ascontiguousarray(whole.T).tobytes())
            take.done_s += before.shape[1] / info.sample_rate_hz

        _, model, mode = take.key
        heard = remember(
            take.source, take.folder / "wet", denoiser=denoiser(model, mode), on_pair=on_pair
        )
    (take.folder / "overview.json").write_text(json.dumps(overview.to_json()), encoding="utf-8")
    take.heard = heard


def _fetch(takes: Takes, limit: float, mix: float, event: gr.EventData) -> Any:
    """Write one recording, or all in a zip file, at the strength that is set."""
    wanted = str(event.which)
    chosen = [take for take in takes.found if take.heard and wanted in ("all", take.folder.name)]
    if not chosen:
        raise ConfigError("there is nothing to download yet.")
    strength = strength_of(limit, mix)
    made = [_written(take, strength) for take in chosen]
    path = made[0]
    if wanted == "all":
        path = chosen[0].folder / "tinysignal.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for inside, file in _named_apart(made).items():
                archive.write(file, inside)
    return gr.HTML(ready={"url": url_of(path), "name": path.name, "at": time.time_ns()})


def _written(take: Take, strength: dict[str, Any]) -> Path:
    assert take.heard is not None
    target = take.folder / beside(take.source, CLEAN).name
    try:
        take.heard.write(target, **strength)
    except TinysignalError as error:
        raise type(error)(in_one_line(error, take.source)) from None
    return target


def _named_apart(paths: list[Path]) -> dict[str, Path]:
    """Files of several folders by names that differ."""
    named: dict[str, Path] = {}
    for path in paths:
        name, number = path.name, 2
        while name in named:
            name, number = f"{path.stem}-{number}{path.suffix}", number + 1
        named[name] = path
    return named
