"""Compress any trained network: factor its weights by SVD, as far as a budget asks.

::

    profile.py    what every layer sees on calibration data; which cannot be factored, and why
    plan.py       the plan, a rank for each layer: JSON that can be edited and replayed
    allocate.py   ranks within a budget, by what cutting each layer costs in the outputs
    search.py     allocations compared on held-out batches
    apply.py      the compressed copy of the network
    solve.py      the factors of one layer
    factorize.py  the algebra
    layers/       layers as matrices, a file for each family
    quantize.py   ONNX models in 8-bit numbers
    timing.py     calls timed side by side

>>> profiled = profile(model, batches)            # doctest: +SKIP
>>> chosen = plan(profiled, params=0.04)          # doctest: +SKIP
>>> small = apply(model, chosen, profiled)        # doctest: +SKIP
"""

from tinysignal.compress.apply import apply
from tinysignal.compress.plan import LayerPlan, Plan
from tinysignal.compress.profile import LayerProfile, Profile, Skipped, profile
from tinysignal.compress.search import plan

__all__ = ["LayerPlan", "LayerProfile", "Plan", "Profile", "Skipped", "apply", "plan", "profile"]
