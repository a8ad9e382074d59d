"""Linear layers, whole or in two factors."""

from __future__ import annotations

from typing import Any, ClassVar, TypeGuard

from torch import Tensor, nn

from tinysignal.compress.factorize import Factors
from tinysignal.compress.layers.factored import FactoredConv1D, FactoredLinear
from tinysignal.compress.layers.family import Family, on_cpu, register, register_name

_PAIRS = (nn.Sequential, FactoredLinear)


def is_pair(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether a module is a pair of Linears whose product has a lower rank."""
    if not isinstance(module, nn.Sequential) or type(module) not in _PAIRS:
        return False
    if [type(part) for part in module] != [nn.Linear] * 2:
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


class LinearFamily(Family):
    """Family of Linears."""

    kinds: ClassVar[tuple[type[nn.Module], ...]] = (nn.Linear,)

    def rows(self, module: nn.Linear, given: Tensor) -> Tensor:
        """See `Family.rows`."""
        return on_cpu(given.reshape(-1, given.shape[-1]))

    def build(self, module: nn.Linear, factors: Factors) -> nn.Sequential:
        """Two Linears, the first without a bias."""
        return FactoredLinear(*two_linears(factors, module.weight))


def two_linears(factors: Factors, like: Tensor) -> tuple[nn.Linear, nn.Linear]:
    """Two Linears, the first without a bias, on the device and in the dtype of a weight."""
    first, second = factors.parts
    place: dict[str, Any] = {"device": like.device, "dtype": like.dtype}
    down = nn.Linear(first.shape[1], len(first), bias=False, **place)
    up = nn.Linear(len(first), len(second), **place)
    down.weight.data.copy_(first)
    up.weight.data.copy_(second)
    up.bias.data.copy_(factors.bias)
    return down, up


class _TransposedLinear(LinearFamily):
    """Hugging Face's ``Conv1D``: a Linear whose weight is (inputs, outputs)."""

    kinds = ()

    def matrix(self, module: Any) -> Tensor:
        """See `Family.matrix`."""
        return on_cpu(module.weight).T

    def write(self, module: Any, dense: Tensor, bias: Tensor) -> None:
        """See `Family.write`."""
        module.weight.data.copy_(dense.T)
        module.bias.data.copy_(bias)

    def build(self, module: Any, factors: Factors) -> nn.Sequential:
        """See `Family.build`."""
        return FactoredConv1D(*two_linears(factors, module.weight))


LINEAR = register(LinearFamily())
TRANSPOSED_LINEAR = _TransposedLinear()
register_name("transformers.pytorch_utils.Conv1D", TRANSPOSED_LINEAR)
register_name("transformers.modeling_utils.Conv1D", TRANSPOSED_LINEAR)
