"""Training of networks: a configuration and data in, a run folder out.

::

    config.py          options of every run
    denoising/         denoisers: configuration, data, networks, modules, task
    classification/    classifiers: configuration, networks, deformation, module, task
    fit.py             one run: trainer, devices, signals, resume, results
    module.py          base class of the Lightning modules
    callbacks.py       schedule and stop, curve and best weights, progress bar
    task.py            interface of a task to training, compression and inspection
    tasks.py           registry of the tasks
    folder.py          files of a run folder
    checkpoint.py      safetensors files
    export.py          torch to ONNX
    memory.py          what glibc keeps between steps
    losses.py, pesq.py, distillation.py, tuning.py
    data/              recordings, mixtures and effects

Names are imported on first use; the configurations need no torch.
"""

import lazy_loader

from tinysignal.privacy import leave_no_caches

leave_no_caches()  # lightning imports Matplotlib and torch's compiler

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
