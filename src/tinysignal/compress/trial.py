"""Whether a network runs with factored layers in the place of its own."""

from __future__ import annotations

from torch import nn

from tinysignal.compress.layers import family_of
from tinysignal.compress.structure import replace_module
from tinysignal.errors import DataError
from tinysignal.nets.batches import Batch, run
from tinysignal.nets.introspection import Forward, evaluating


def unreplaceable(
    network: nn.Module, names: list[str], batch: Batch, forward: Forward | None
) -> dict[str, str]:
    """Layers without which the network does not run, although a factored layer stands for them.

    Such as a layer whose type the network asks for. All are replaced at once; one by one only if
    that fails.
    """
    small = batch.take(slice(2)) or batch

    def trial(cut: list[str]) -> str | None:
        kept = {name: network.get_submodule(name) for name in cut}
        try:
            for name, module in kept.items():
                family = family_of(module)
                assert family is not None
                empty = family.empty(module, family.decompositions(module)[0], 1)
                replace_module(network, name, family.replacement(module, empty))
            with evaluating(network):
                run(network, small, forward)
        except DataError as error:
            return str(error)
        finally:
            for name, module in kept.items():
                replace_module(network, name, module)
        return None

    try:
        with evaluating(network):
            run(network, small, forward)
    except DataError:  # of the network itself: the pass over all batches says it
        return {}
    inside = [name for name in names if name]
    if trial(inside) is None:
        return {}
    refused = {name: trial([name]) for name in inside}
    return {
        name: f"the network does not run with a factored layer here: {why}"
        for name, why in refused.items()
        if why is not None
    }
