"""The algebra: a weight matrix as a product of two or three smaller ones. Float64 throughout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

RIDGE = 1e-3  # of the inputs' mean variance; a regression on fewer rows than inputs needs it


@dataclass(frozen=True)
class Factors:
    """What a weight is replaced by.

    Parameters
    ----------
    form : {"pair", "channel", "spatial", "tucker"}
    parts : tuple of float64 Tensor
        In the order in which an input meets them. A pair and a channel form: (rank, inputs) and
        (outputs, rank). The forms of convolutions: see `tinysignal.compress.convolutions`.
    dense : float64 Tensor (outputs, inputs)
        Their product.
    bias : float64 Tensor (outputs,)
    """

    form: str
    parts: tuple[Tensor, ...]
    dense: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Moments:
    """First and second moments of rows of inputs, and how many there were.

    Parameters
    ----------
    mean : float64 Tensor (inputs,)
    covariance : float64 Tensor (inputs, inputs)
    rows : int
    """

    mean: Tensor
    covariance: Tensor
    rows: int


class MomentSum:
    """Moments that are summed up batch after batch (Chan et al., 1979: no cancellation)."""

    def __init__(self) -> None:
        self.rows = 0
        self._mean: Any = None
        self._scatter: Any = None

    def add(self, rows: Tensor) -> None:
        """Add rows, float (rows, inputs)."""
        count = len(rows)
        if count == 0:
            return
        mean = rows.mean(dim=0, dtype=torch.float64)
        centred = rows - mean.to(rows.dtype)
        scatter = (centred.T @ centred).double()
        if self.rows == 0:
            self._mean, self._scatter = mean, scatter
        else:
            total = self.rows + count
            shift = mean - self._mean
            self._scatter += scatter + torch.outer(shift, shift) * (self.rows * count / total)
            self._mean = self._mean + shift * (count / total)
        self.rows += count

    def moments(self) -> Moments:
        """The moments of all rows."""
        return Moments(self._mean, self._scatter / self.rows, self.rows)


def moments_of(rows: Tensor, *, chunk: int = 4096) -> Moments:
    """Moments of rows (rows, inputs)."""
    total = MomentSum()
    for start in range(0, len(rows), chunk):
        total.add(rows[start : start + chunk])
    return total.moments()


def top_eigenvectors(covariance: Tensor, rank: int) -> Tensor:
    """Eigenvectors of the largest eigenvalues, float64 (size, rank), with fixed signs.

    The largest entry of each is positive, so that equal data give equal factors everywhere.
    """
    vectors = torch.linalg.eigh((covariance + covariance.T) / 2).eigenvectors.flip(1)[:, :rank]
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    signed: Tensor = vectors * torch.where(largest < 0, -1.0, 1.0)
    return signed


def balanced_pair(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """A pair with the same product whose columns and rows are of equal length.

    Equal lengths keep both factors in the range of a half-precision or int8 number, and a gradient
    moves both alike.
    """
    rows, columns = first.norm(dim=1), second.norm(dim=0)
    scale = torch.sqrt(rows / columns.clamp_min(1e-30)).clamp(1e-12, 1e12)
    scale = torch.where(rows > 0, scale, torch.ones_like(scale))
    return first / scale[:, None], second * scale


def truncate(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Truncated SVD, the best of its rank in Frobenius norm (Eckart & Young, 1936).

    The singular values are split evenly: a square root into each factor.

    Returns
    -------
    float64 Tensor (rank, inputs), float64 Tensor (outputs, rank)
    """
    left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
    root = values[:rank].sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root


def project(weight: Tensor, covariance: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The pair that keeps the outputs' principal components: no map of its rank errs less.

    With U the top eigenvectors of the outputs' covariance W C W', the factors are U'W and U. The
    mean squared error over centred inputs is the sum of the eigenvalues left out.

    Parameters
    ----------
    weight : Tensor (outputs, inputs)
    covariance : float64 Tensor (inputs, inputs)
        Of the inputs. It may be singular: nothing is inverted.
    rank : int

    References
    ----------
    Zhang et al. (2016), "Accelerating very deep convolutional networks", eq. 5.
    """
    weight = weight.double()
    vectors = top_eigenvectors(weight @ covariance @ weight.T, rank)
    return balanced_pair(vectors.T @ weight, vectors)


def regress(weight: Tensor, cross: Tensor, covariance: Tensor, *, ridge: float = RIDGE) -> Tensor:
    """The map from a compressed network's inputs to the original outputs, ridged towards W.

    Parameters
    ----------
    weight : Tensor (outputs, inputs)
        W of the original layer.
    cross : float64 Tensor (inputs, outputs)
        Covariance of the inputs with what W leaves of the original outputs, y - W x'.
    covariance : float64 Tensor (inputs, inputs)
        Of the inputs x'.
    ridge : float
        In units of the inputs' mean variance.

    Returns
    -------
    float64 Tensor (outputs, inputs)
        W itself where the inputs do not vary.

    References
    ----------
    Izenman (1975), "Reduced-rank regression for the multivariate linear model": this, then
    `project`. Zhang et al. (2016), sec. 3.3, "asymmetric reconstruction".
    """
    variance = covariance.diagonal().mean()
    if not variance > 0:
        return weight.double()
    ridged = covariance + ridge * variance * torch.eye(len(covariance), dtype=torch.float64)
    return weight.double() + torch.cholesky_solve(cross, torch.linalg.cholesky(ridged)).T


def corrected_bias(bias: Tensor, weight: Tensor, dense: Tensor, mean: Tensor) -> Tensor:
    """The bias that leaves the outputs' mean as it was: b + (W - W') mean(x)."""
    return bias.double() + (weight.double() - dense) @ mean


def squared_error(weight: Tensor, dense: Tensor, covariance: Tensor) -> float:
    """Mean squared error of a layer's outputs, summed over them, its bias corrected."""
    gap = weight.double() - dense
    return float(((gap @ covariance) * gap).sum())
