"""Operations on run folders, for Python and the command line.

::

    load.py      network, configuration and plans of a run folder
    compress.py  compression of a run, and fine-tuning
    report.py    report of a compression before and after
    sweep.py     one network at several ranks
    inspect.py   inspection of the network of a run

Names are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
