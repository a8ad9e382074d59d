"""Compress any trained network: factor its weights by SVD, as far as a budget asks.

::

    profile.py    what every layer sees on calibration data; which cannot be factored, and why
    plan.py       the plan, a rank for each layer: JSON that can be edited and replayed
    allocate.py   ranks within a budget, by what cutting each layer costs in the outputs
    search.py     allocations compared on held-out batches
    apply.py      the compressed copy of the network
    rebuild.py    a network in the shape of a plan, for compressed weights
    compress.py   all of it in one call
    solve.py      the factors of one layer
    factorize.py  the algebra
    structure.py  a network taken apart into factorable layers
    layers/       layers as matrices, a file for each family
    quantize.py   ONNX models in 8-bit numbers
    timing.py     calls timed side by side

`compress` is all in one call; `profile`, `plan` and `apply` are its steps; `rebuild` makes a
network that takes the compressed weights in a new process.
"""

from tinysignal.budget import Budget
from tinysignal.compress.apply import apply
from tinysignal.compress.compress import Compressed, compress
from tinysignal.compress.plan import LayerPlan, Plan
from tinysignal.compress.profile import LayerProfile, Profile, Skipped, profile
from tinysignal.compress.rebuild import rebuild
from tinysignal.compress.search import plan

__all__ = [
    "Budget",
    "Compressed",
    "LayerPlan",
    "LayerProfile",
    "Plan",
    "Profile",
    "Skipped",
    "apply",
    "compress",
    "plan",
    "profile",
    "rebuild",
]
