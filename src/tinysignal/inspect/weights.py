"""Table of layers: size, cost, dead units and singular values of every module with parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinysignal.inspect.capture import ModuleRecord
from tinysignal.inspect.hooks import has_parameters, is_leaf, is_norm
from tinysignal.inspect.result import LayerRow
from tinysignal.nets.introspection import shape_text

ENERGY = 0.95
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a matrix, and ranks computed from them.

    Parameters
    ----------
    values : float64 (rank,)
        Singular values, descending.
    """

    values: NDArray[np.float64]

    @property
    def effective_rank(self) -> float:
        """``exp`` of the entropy of the normalised singular values; 0 for a matrix of zeros.

        References
        ----------
        Roy & Vetterli (2007), "The effective rank: a measure of effective dimensionality".
        """
        if not self.values.any():
            return 0.0
        shares = self.values / self.values.sum()
        shares = shares[shares > 0]
        return float(np.exp(-(shares * np.log(shares)).sum()))

    @property
    def rank_energy_95(self) -> int:
        """Smallest rank that keeps 95 % of the squared values; 0 for a matrix of zeros."""
        if not self.values.any():
            return 0
        energy = np.cumsum(np.square(self.values / self.values[0]))
        return int(np.searchsorted(energy, ENERGY * energy[-1])) + 1


def table_of_layers(model: nn.Module, seen: dict[str, ModuleRecord]) -> tuple[LayerRow, ...]:
    """Rows of all modules with parameters, in the order of ``named_modules``.

    A module with several weight matrices (recurrent, attention, bilinear) has a row for each, named
    ``MODULE.PARAMETER``.

    Parameters
    ----------
    model : nn.Module
    seen : dict of str to ModuleRecord
        Field ``seen`` of the result of `record_outputs`.
    """
    return tuple(
        row
        for name, module in model.named_modules()
        if has_parameters(module) and not isinstance(module, parametrize.ParametrizationList)
        for row in _rows(name, module, seen.get(name))
    )


def _rows(name: str, module: nn.Module, seen: ModuleRecord | None) -> Iterator[LayerRow]:
    tensors = dict(module.named_parameters(recurse=False))
    for part in _parametrized(module):
        tensors[part] = getattr(module, part)
    matrices = {n: t for n, t in tensors.items() if t.ndim >= 2}
    total = sum(p.numel() for p in module.parameters(recurse=is_leaf(module)))
    if len(matrices) < 2:
        weight = next(iter(matrices.values()), tensors.get("weight"))
        macs = None if seen is None else seen.macs
        yield _row(name, module, seen, weight=weight, parameters=total, macs=macs)
        return
    products = sum(t.numel() for t in matrices.values())
    biases = {n: tensors.get(n.replace("weight", "bias")) for n in matrices}
    sizes = {n: t.numel() + _size(biases[n]) for n, t in matrices.items()}
    rest = total - sum(sizes.values())  # parameters outside the matrices count in the first row
    for part, weight in matrices.items():
        macs = None
        if seen is not None and seen.macs is not None:
            macs = seen.macs * weight.numel() // products  # all matrices are used equally often
        parameters = sizes[part] + rest
        rest = 0
        name_of_part = f"{name}.{part}" if name else part
        yield _row(name_of_part, module, seen, weight=weight, parameters=parameters, macs=macs)


def _parametrized(module: nn.Module) -> list[str]:
    """Names of parametrized tensors, see `torch.nn.utils.parametrizations`."""
    parts = getattr(module, "parametrizations", None)
    return list(parts.keys()) if isinstance(parts, nn.ModuleDict) else []


def _size(tensor: Tensor | None) -> int:
    return 0 if tensor is None or tensor.ndim >= 2 else tensor.numel()


def _row(
    name: str,
    module: nn.Module,
    seen: ModuleRecord | None,
    *,
    weight: Tensor | None,
    parameters: int,
    macs: int | None,
) -> LayerRow:
    spectrum = None if weight is None else _spectrum(module, weight)
    fired = None if seen is None else seen.fired
    return LayerRow(
        name=name or type(module).__name__,
        kind=type(module).__name__.removeprefix("Parametrized"),
        shape="" if weight is None else shape_text(weight.shape),
        parameters=parameters,
        macs=macs or 0,
        output_shape="" if seen is None else shape_text(seen.output_shape),
        dead_share=None if fired is None else float(1 - fired.mean()),
        singular_values=None if spectrum is None else spectrum.values,
        effective_rank=None if spectrum is None else spectrum.effective_rank,
        rank_energy_95=None if spectrum is None else spectrum.rank_energy_95,
        note=_note(module, seen, macs),
    )


def _note(module: nn.Module, seen: ModuleRecord | None, macs: int | None) -> str:
    if seen is None:
        return "not called as a module; cost and output are unknown"
    if macs is None:
        return "no matrix product" if is_norm(module) else "operations of this type are not counted"
    return ""


def _spectrum(module: nn.Module, weight: Tensor) -> Spectrum | None:
    """Singular values of a weight (outputs, all other axes); None for vectors, NaN or infinity."""
    if weight.ndim < 2 or weight.numel() == 0:
        return None
    matrix = weight.detach().to("cpu", torch.float64)
    if isinstance(module, _TRANSPOSED):
        matrix = matrix.transpose(0, 1)  # transposed convolutions have inputs first
    if not bool(torch.isfinite(matrix).all()):
        return None
    return Spectrum(np.linalg.svd(matrix.flatten(1).numpy(), compute_uv=False))
