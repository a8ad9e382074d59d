"""Ranks that need no search: one for all layers, or as many as keep a share of the energy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tinysignal.compress import layers
from tinysignal.compress.factors import output_spectrum
from tinysignal.compress.plan_file import LayerPlan, Plan
from tinysignal.compress.profiling import LayerProfile, Profile
from tinysignal.compress.solving import cheapest_form
from tinysignal.errors import ConfigError

Steps = dict[str, tuple[str, int | None, str]]  # per layer: form, rank, why


def uniform(profile: Profile, rank: int, *, one_form: bool = False) -> Steps:
    """One rank for all layers: per layer the form, the rank and why.

    With ``one_form``, a convolution keeps its first form even where another is cheaper.

    Raises
    ------
    ConfigError
        It is above every layer's full rank, or shrinks none.
    """
    largest = max(layer.full_rank for layer in profile.layers)
    if rank > largest:
        raise ConfigError(f"rank {rank} is above the full rank of every layer (at most {largest}).")
    steps: Steps = {}
    for layer in profile.layers:
        module = profile.network.get_submodule(layer.name)
        form = layers.forms(module)[0]
        if not shrinks(profile, layer, form, rank):
            steps[layer.name] = form, None, f"rank {rank} does not make it smaller"
        else:
            form, own = (form, rank) if one_form else cheapest_form(module, layer, rank)
            steps[layer.name] = form, own, f"as good as rank {rank}" if own != rank else ""
    return steps


def shrinks(profile: Profile, layer: LayerProfile, form: str, rank: int) -> bool:
    """Whether a rank is possible and has fewer weights than the layer."""
    module = profile.network.get_submodule(layer.name)
    if rank > layers.full_rank(module, form):
        return False
    return layers.cost(module, form, rank)[0] < layer.parameters


def spectrum(layer: LayerProfile, method: str) -> Tensor:
    """Squared singular values, descending, float64, of the weight or of its outputs."""
    if method == "plain":
        values: Tensor = torch.linalg.svdvals(layer.weight.double()).square()
        return values
    return output_spectrum(layer.weight, layer.inputs.covariance)[0][: layer.full_rank]


def by_energy(profile: Profile, share: float, method: str) -> Steps:
    """Per layer the smallest rank that keeps a share of the squared singular values."""
    steps: Steps = {}
    for layer in profile.layers:
        module = profile.network.get_submodule(layer.name)
        form = layers.forms(module)[0]
        kept = spectrum(layer, method).cumsum(0)
        enough = kept >= share * kept[-1] * (1 - 1e-12)
        rank = int(enough.nonzero()[0, 0]) + 1
        if shrinks(profile, layer, form, rank):
            steps[layer.name] = (*cheapest_form(module, layer, rank), f"keeps {share:.4g}")
        else:
            steps[layer.name] = form, None, f"rank {rank} does not make it smaller"
    return steps


def assemble(
    profile: Profile,
    steps: Steps,
    method: str,
    budget: dict[str, Any],
    measured: dict[str, Any] | None = None,
) -> Plan:
    """A plan of forms and ranks."""
    parts = []
    for layer in profile.layers:
        form, rank, why = steps[layer.name]
        full = layers.full_rank(profile.network.get_submodule(layer.name), form)
        parts.append(LayerPlan(layer.name, layer.kind, form, full, rank, why))
    skipped = {one.name: one.reason for one in profile.skipped}
    return Plan(method, budget, tuple(parts), skipped, measured or {})
