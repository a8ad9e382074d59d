"""What is done with a run folder, from Python and from the command line.

::

    load.py      a run folder back into a network, its configuration and its plans
    compress.py  a run into a compressed run, and its further training
    report.py    a compression measured before and after
    sweep.py     one network at several ranks
    inspect.py   a look into the network of a run

The names here are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
