from . import audio as audio
from . import batch as batch
from . import compress as compress
from . import datasets as datasets
from . import evaluation as evaluation
from . import inspect as inspect
from . import metrics as metrics
from . import remote as remote
from . import runs as runs
from . import train as train
from .classifier import Classifier as Classifier
from .denoiser import Denoiser as Denoiser
from .denoiser import denoise as denoise
from .errors import AudioFileError as AudioFileError
from .errors import ConfigError as ConfigError
from .errors import DataError as DataError
from .errors import FileError as FileError
from .errors import MissingExtraError as MissingExtraError
from .errors import ModelError as ModelError
from .errors import SignalError as SignalError
from .errors import TinysignalError as TinysignalError
from .gain import DenoiseOptions as DenoiseOptions
from .spec import ClassifierSpec as ClassifierSpec
from .spec import DenoiserSpec as DenoiserSpec
from .stream import DenoiserStream as DenoiserStream
from .stream import feed_together as feed_together

__version__: str
