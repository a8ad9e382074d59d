"""Train networks: a configuration and data in, a run folder out.

::

    config.py          options of every run
    denoising/         denoisers: configuration, data, modules, task
    classification/    classifiers: the same
    fit.py             one run: trainer, devices, signals, resume, finish
    module.py          the base of the Lightning modules
    callbacks.py       schedule and stop, curve and best weights, progress bar
    task.py            what compression and inspection ask of a trained run
    folder.py          the files of a run folder
    export.py          torch to ONNX
    losses.py, pesq.py, distillation.py
    data/              recordings, mixtures and effects

The names here are imported on first use; the configurations need no torch.
"""

import lazy_loader

from tinysignal.privacy import leave_no_caches

leave_no_caches()  # lightning imports Matplotlib and torch's compiler

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
