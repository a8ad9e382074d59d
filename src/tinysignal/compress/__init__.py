"""Compression of any trained network: low-rank factors of its weights within a budget.

::

    profile.py        statistics of all layers on calibration data
    trial.py          whether a network runs with factored layers
    layer_profile.py  statistics of one layer; layers that cannot be factored, with the reason
    plan.py           plan: a rank for each layer, as JSON that can be edited and replayed
    output_loss.py    distance of a compressed network's outputs from the original's
    ranks.py          ranks that a layer may have
    allocate.py       ranks within a budget, by the output loss of each layer's candidates
    search.py         comparison of allocations on held-out batches
    apply.py          compressed copy of a network
    joint.py          refinement of all factors together
    rebuild.py        network in the shape of a plan, for loading compressed weights
    compress.py       all steps in one call
    solve.py          factors of one layer
    factorize.py      matrix factorisations
    structure.py      decomposition of a network into factorable layers
    layers/           layers as matrices, a file for each family
    quantize.py       ONNX models with 8-bit numbers
    timing.py         interleaved timing of calls

`compress` is the whole compression in one call; `profile`, `plan` and `apply` are its steps.
`rebuild` makes a network for the compressed weights in a new process.
"""

from tinysignal.budget import Budget
from tinysignal.compress.apply import apply
from tinysignal.compress.compress import Compressed, compress
from tinysignal.compress.layer_profile import LayerProfile, Skipped
from tinysignal.compress.plan import LayerPlan, Plan
from tinysignal.compress.profile import Profile, profile
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
