from .classification.config import ClassifierConfig as ClassifierConfig
from .classification.task import train_classifier as train_classifier
from .config import TrainConfig as TrainConfig
from .denoising.config import DenoiserConfig as DenoiserConfig
from .denoising.task import train_denoiser as train_denoiser
from .fit import RunResult as RunResult
