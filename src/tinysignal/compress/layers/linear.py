"""Linear layers, whole or in two factors."""

from __future__ import annotations

from typing import Any, TypeGuard

from torch import Tensor, nn

from tinysignal.compress.factorize import Factors
from tinysignal.compress.layers.family import Family, on_cpu, register


def is_pair(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether a module is a pair of Linears whose product has a lower rank."""
    if type(module) is not nn.Sequential or [type(part) for part in module] != [nn.Linear] * 2:
        return False
    first, second = module
    inside = first.out_features
    return first.bias is None and inside < min(first.in_features, second.out_features)


def merged(pair: nn.Sequential) -> nn.Linear:
    """Linear that is the product of a pair of Linears."""
    first, second = pair
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    with_bias = second.bias is not None
    merged = nn.Linear(
        first.in_features,
        second.out_features,
        bias=with_bias,
        device=second.weight.device,
        dtype=second.weight.dtype,
    )
    merged.weight.data.copy_(second.weight.data.double() @ first.weight.data.double())
    if with_bias:
        merged.bias.data.copy_(second.bias.data)
    merged.train(pair.training)
    return merged


class _Linear(Family):
    kinds = (nn.Linear,)

    def rows(self, module: nn.Linear, given: Tensor) -> Tensor:
        """See `Family.rows`."""
        return on_cpu(given.reshape(-1, given.shape[-1]))

    def build(self, module: nn.Linear, factors: Factors) -> nn.Sequential:
        """Two Linears, the first without a bias."""
        first, second = factors.parts
        place: dict[str, Any] = {"device": module.weight.device, "dtype": module.weight.dtype}
        down = nn.Linear(module.in_features, len(first), bias=False, **place)
        up = nn.Linear(len(first), module.out_features, **place)
        down.weight.data.copy_(first)
        up.weight.data.copy_(second)
        up.bias.data.copy_(factors.bias)
        return nn.Sequential(down, up)


LINEAR = register(_Linear())
