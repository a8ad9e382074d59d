"""What can go wrong, as a tree.

::

    TinysignalError
    ├── SignalError        an array or its rate: shape, NaN, silence, bounds
    ├── FileError          a file or folder that cannot be read or written
    │   └── AudioFileError     one that cannot be read or written as audio
    ├── ModelError         a model file: damaged, foreign, of another task
    ├── ConfigError        an option or a configuration file
    ├── DataError          training or evaluation data: missing, mismatched
    └── MissingExtraError  an optional dependency that is not installed

Every message is one line: what was found, what was expected, what to do.
"""


class TinysignalError(Exception):
    """Base of every error that this package raises on purpose."""


class SignalError(TinysignalError, ValueError):
    """An array or its sample rate is not what the function takes."""


class FileError(TinysignalError, OSError):
    """A file or folder cannot be read or written."""


class AudioFileError(FileError):
    """A file cannot be read or written as audio."""


class ModelError(TinysignalError):
    """A model file is damaged, foreign, or made for another task."""


class ConfigError(TinysignalError, ValueError):
    """An option or a configuration file holds a value that cannot be used."""


class DataError(TinysignalError):
    """Training or evaluation data is missing, empty or mismatched."""


class MissingExtraError(TinysignalError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the '{extra}' extra: pip install 'tinysignal[{extra}]'.")
