"""Small neural networks for sound and pictures: denoise, classify, train, look inside, compress.

::

    denoise, Denoiser, DenoiserStream    remove noise from arrays and streams
    Classifier                           name what is in pictures and sounds
    audio, metrics, evaluation           read and write sound, score it
    batch, datasets                      many files, labelled examples
    train, compress, inspect, runs       networks in the making; need the 'train' extra

Every name is imported when it is first used, so that `import tinysignal` does no work; it only
tells the libraries below to report nothing to anyone, see `tinysignal.privacy`. All but the last
line need numpy and onnxruntime and never PyTorch.
"""

import lazy_loader

from tinysignal.privacy import be_silent

be_silent()

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
