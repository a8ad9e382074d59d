"""Compress any trained network: factor its weights by SVD, as far as a budget asks.

::

    profiling.py     what every layer sees on calibration data; which cannot be factored, and why
    planning.py      a budget becomes a rank for each layer
    allotting.py     ... by what cutting each costs in the outputs
    plan_file.py     the plan: JSON that can be edited and replayed
    applying.py      the compressed copy of the network
    solving.py       the factors of one layer
    factors.py       the algebra
    layers.py        layers as matrices; convolutions.py, recurrent.py for two families

>>> profiled = profile(model, batches)            # doctest: +SKIP
>>> chosen = plan(profiled, params=0.04)          # doctest: +SKIP
>>> small = apply(model, chosen, profiled)        # doctest: +SKIP
"""

from tinysignal.compress.applying import apply
from tinysignal.compress.plan_file import LayerPlan, Plan
from tinysignal.compress.planning import plan
from tinysignal.compress.profiling import LayerProfile, Profile, Skipped, profile

__all__ = ["LayerPlan", "LayerProfile", "Plan", "Profile", "Skipped", "apply", "plan", "profile"]
