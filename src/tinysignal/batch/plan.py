"""Inputs and where their outputs go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tinysignal.audio import SOUND_SUFFIXES
from tinysignal.audio.ffmpeg_tracks import ONLY_READ
from tinysignal.denoise_file import residual_suffix
from tinysignal.errors import AudioFileError, ConfigError
from tinysignal.files import check_outputs, check_place, file_identity, find_anywhere
from tinysignal.remote import Place, State, Url, inside, is_folder, place, state_of

CLEAN, RESIDUAL = ".clean", ".residual"  # before the extension of what is written beside its input
_Place = TypeVar("_Place", Path, Url, Path | Url)


def beside(path: _Place, mark: str, suffix: str | None = None) -> _Place:
    """``talk.wav`` with a mark before its extension: ``talk.clean.wav``."""
    return path.with_name(f"{path.stem}{mark}{suffix or path.suffix}")


def find_sounds(
    folder: Place,
    *,
    leave_out: Place | None = None,
    only_written: bool = False,
    passed_over: Counter[str] | None = None,
) -> list[Place]:
    """Sound files in a folder and its subfolders, as `tinysignal.files.find_files` finds them.

    What an earlier run wrote is left out: the folder ``leave_out``, and ``NAME.clean.EXT`` and
    ``NAME.residual.EXT`` beside a ``NAME``.

    Parameters
    ----------
    folder : Path or Url
    leave_out : Path, Url or None
        A subfolder that is not searched.
    only_written : bool
        Whether to pass over what is read but cannot be written, such as ``.amr``.
    passed_over : Counter or None
        Is told the endings of all other files.

    Raises
    ------
    FileError
        A folder that cannot be read.
    AudioFileError
        There is no sound file in it.
    """
    others: Counter[str] = Counter()
    suffixes = SOUND_SUFFIXES - ONLY_READ if only_written else SOUND_SUFFIXES
    paths = find_anywhere(folder, suffixes, leave_out=leave_out, passed_over=others)
    known = {path.with_suffix("") for path in paths}

    def is_ours(path: Place) -> bool:
        unmarked = path.with_suffix("")
        return unmarked.suffix in (CLEAN, RESIDUAL) and unmarked.with_suffix("") in known

    found = [path for path in paths if not is_ours(path)]
    if not found:
        seen = f" ({passed_over_text(others)})" if others else ""
        raise AudioFileError(f"{folder}: no audio file in this folder{seen}.")
    if passed_over is not None:
        passed_over.update(others)
    return found


def passed_over_text(endings: Mapping[str, int]) -> str:
    """What a user is told of the files that were passed over.

    Parameters
    ----------
    endings : mapping of str to int
        How many files have each ending; ``""`` for none.

    Examples
    --------
    >>> from tinysignal.batch import passed_over_text
    >>> passed_over_text({".txt": 1, ".amr": 2})
    '3 files passed over: .amr (2), .txt (1); --format wav takes .amr too'
    """
    total = sum(endings.values())
    ordered = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{ending or 'no ending'} ({count})" for ending, count in ordered)
    sounds = [ending for ending, _ in ordered if ending in ONLY_READ]
    hint = f"; --format wav takes {', '.join(sounds)} too" if sounds else ""
    return f"{total} file{'s' if total > 1 else ''} passed over: {shown}{hint}"


@dataclass(frozen=True, slots=True)
class Work:
    """One input and what is written for it.

    Parameters
    ----------
    source, target : Path or Url
    residual, plot : Path, Url or None
        Where what was removed, and the spectrograms before and after, are written.
    shown : (str, str) or None
        What messages call the source and the target; None for their paths.
    clash : str or None
        Why it cannot be done: another input has one of the outputs as well.
    """

    source: Place
    target: Place
    residual: Place | None = None
    plot: Place | None = None
    shown: tuple[str, str] | None = None
    clash: str | None = None

    @property
    def names(self) -> tuple[str, str]:
        """What messages call the source and the target."""
        return self.shown or (str(self.source), str(self.target))

    @property
    def outputs(self) -> list[Place]:
        """Everything that is written."""
        return [p for p in (self.target, self.residual, self.plot) if p is not None]

    def is_done(self, state: Callable[[Place], State | None] = state_of) -> bool:
        """Whether all outputs exist and are no older than the source, as ``state`` knows them."""
        source = state(self.source)
        outputs = [state(path) for path in self.outputs]
        return source is not None and all(
            made is not None and made.mtime_ns >= source.mtime_ns for made in outputs
        )


def plan_work(
    inputs: Iterable[str | Place],
    *,
    out_folder: str | Place | None = None,
    suffix: str | None = None,
    residual: bool = False,
    plot: bool = False,
    passed_over: Counter[str] | None = None,
) -> list[Work]:
    """Inputs and where their outputs go; folders are searched, and their structure is kept.

    An input that is named twice is done once. Inputs that would be written to the same place are
    planned with a ``clash``, which makes them fail; the others are done.

    Parameters
    ----------
    inputs : iterable of str, Path or Url
        Files and folders. A file that is missing is listed all the same: reading it will tell.
    out_folder : str, Path, Url or None
        None to write ``NAME.clean.EXT`` beside every input.
    suffix : str or None
        Extension of the outputs, such as ``.flac``; None for that of the input.
    residual, plot : bool
        Whether to write ``NAME.residual.EXT`` and ``NAME.png`` beside the output too.
    passed_over : Counter or None
        Is told the endings of the files in folders that are no sound, or that cannot be written.

    Returns
    -------
    list of Work

    Raises
    ------
    ConfigError
        An output that is an input, or in a store that is never written.
    FileError
        A folder that cannot be read.
    AudioFileError
        A folder without sound files.
    MissingExtraError
        A store that needs a package.

    Examples
    --------
    >>> from tinysignal.batch import plan_work
    >>> work = plan_work(["a.wav", "deep/b.mp3"], out_folder="cleaned", suffix=".flac")
    >>> [item.target.as_posix() for item in work]
    ['cleaned/a.flac', 'cleaned/b.flac']
    """
    out = None if out_folder is None else place(out_folder)
    work: dict[tuple[object, Place], Work] = {}
    for item in map(place, inputs):
        whole = is_folder(item)
        sources = (
            find_sounds(item, leave_out=out, only_written=suffix is None, passed_over=passed_over)
            if whole
            else [item]
        )
        for source in sources:
            if out is None:
                target = beside(source, CLEAN, suffix)
            else:
                target = out / inside(source, item if whole else item.parent)
                target = target.with_suffix(suffix or target.suffix)
            made = with_extras(Work(source, target), residual=residual, plot=plot)
            work.setdefault((file_identity(source), target), made)
    return checked(list(work.values()))


def with_extras(item: Work, *, residual: bool, plot: bool) -> Work:
    """The same work, with ``NAME.residual.EXT`` and ``NAME.png`` written beside its target."""
    if not residual and not plot:
        return item
    target = item.target
    return replace(
        item,
        residual=beside(target, RESIDUAL, residual_suffix(target)) if residual else item.residual,
        plot=target.with_suffix(".png") if plot else item.plot,
    )


def checked(work: list[Work]) -> list[Work]:
    """The work, with a ``clash`` where two inputs share an output.

    Raises
    ------
    ConfigError
        An output that is an input, or two outputs of one input at the same place.
    """
    inputs = {file_identity(item.source): item.source for item in work}
    makers: dict[object, list[tuple[int, Place]]] = {}
    folders: set[object] = set()
    for index, item in enumerate(work):
        outputs = [(path, file_identity(path)) for path in item.outputs]
        for path, identity in outputs:
            if path.parent not in folders:
                check_place(path)
                folders.add(path.parent)
            if identity in inputs:
                raise ConfigError(
                    f"{path}: the output is the input {inputs[identity]}. Choose another name."
                )
            makers.setdefault(identity, []).append((index, path))
        if len({identity for _, identity in outputs}) < len(outputs):
            check_outputs([(item.source, path) for path, _ in outputs])
    for sharing in makers.values():
        for index, path in sharing if len(sharing) > 1 else []:
            others = [work[other].names[0] for other, _ in sharing if other != index]
            shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
            clash = (
                f"{path} would be written for {shown} as well. Run them apart, or into different "
                "folders."
            )
            work[index] = replace(work[index], clash=clash)
    return work
