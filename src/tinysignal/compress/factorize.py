"""Factorisation of a weight matrix into two or three smaller ones, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

RIDGE = 1e-3  # relative to the mean variance of the inputs, for fewer rows than inputs
WIDE = 4096  # inputs or outputs above which no square matrix of that size is computed
WIDE_ROWS = 2048  # rows of the covariance of more inputs


@dataclass(frozen=True)
class Factors:
    """Factors of a weight.

    Parameters
    ----------
    decomposition : str
        ``low_rank``; for convolutions see `tinysignal.compress.layers.convolution`.
    parts : tuple of float64 Tensor
        Factors in the order of their application: (rank, inputs) and (outputs, rank) for
        ``low_rank`` and ``channel``.
    dense : float64 Tensor (outputs, inputs)
        Product of the factors.
    bias : float64 Tensor (outputs,)
    """

    decomposition: str
    parts: tuple[Tensor, ...]
    dense: Tensor
    bias: Tensor


@dataclass(frozen=True)
class ThinCovariance:
    """Covariance R'R of more than `WIDE` inputs, stored as R to save memory.

    Parameters
    ----------
    root : Tensor (rows, inputs)
        Centred rows of a subsample, divided by the square root of their number.
    """

    root: Tensor


Covariance = Tensor | ThinCovariance  # float64 (inputs, inputs), or its root for many inputs


@dataclass(frozen=True)
class Moments:
    """First and second moments of input rows.

    Parameters
    ----------
    mean : float64 Tensor (inputs,)
    covariance : float64 Tensor (inputs, inputs) or ThinCovariance
    rows : int
        Number of rows.
    """

    mean: Tensor
    covariance: Covariance
    rows: int


class MomentSum:
    """Accumulation of moments over batches without cancellation.

    For more than `WIDE` inputs, the covariance is that of a subsample of the rows.

    References
    ----------
    Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample
    variances".
    """

    def __init__(self) -> None:
        self.rows = 0
        self._mean: Any = None
        self._scatter: Any = None
        self._some: Any = None  # every `_stride`-th row, for many inputs
        self._stride = 1

    def add(self, rows: Tensor) -> None:
        """Add rows, float (rows, inputs)."""
        count = len(rows)
        if count == 0:
            return
        mean = rows.mean(dim=0, dtype=torch.float64)
        wide = rows.shape[1] > WIDE
        scatter = None if wide else _scatter(rows, mean)
        if self.rows == 0:
            self._mean, self._scatter, self._some = mean, scatter, rows[:0]
        else:
            total = self.rows + count
            shift = mean - self._mean
            if scatter is not None:
                self._scatter += scatter + torch.outer(shift, shift) * (self.rows * count / total)
            self._mean = self._mean + shift * (count / total)
        if wide:
            self._keep(rows[-self.rows % self._stride :: self._stride])
        self.rows += count

    def _keep(self, rows: Tensor) -> None:
        self._some = torch.cat([self._some, rows])
        while len(self._some) > WIDE_ROWS:
            self._some, self._stride = self._some[::2], 2 * self._stride

    def moments(self) -> Moments:
        """Moments of all rows."""
        if self._scatter is None:
            return Moments(self._mean, thin(self._some, self._mean), self.rows)
        return Moments(self._mean, self._scatter / self.rows, self.rows)


def _scatter(rows: Tensor, mean: Tensor) -> Tensor:
    centred = rows - mean.to(rows.dtype)
    return (centred.T @ centred).double()


def thin(rows: Tensor, mean: Tensor) -> ThinCovariance:
    """Covariance of rows (rows, inputs) around a mean (inputs,)."""
    return ThinCovariance((rows - mean.to(rows.dtype)) / math.sqrt(len(rows)))


def moments_of(rows: Tensor, *, chunk: int = 4096) -> Moments:
    """Moments of rows (rows, inputs)."""
    total = MomentSum()
    for start in range(0, len(rows), chunk):
        total.add(rows[start : start + chunk])
    return total.moments()


def top_eigenvectors(covariance: Tensor, rank: int) -> Tensor:
    """Eigenvectors of the largest eigenvalues, float64 (size, rank).

    The largest entry of each is positive, which makes the factors reproducible.
    """
    return _signed(
        torch.linalg.eigh((covariance + covariance.T) / 2).eigenvectors.flip(1)[:, :rank]
    )


def _signed(vectors: Tensor) -> Tensor:
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    signed: Tensor = vectors * torch.where(largest < 0, -1.0, 1.0)
    return signed


def output_spectrum(weight: Tensor, covariance: Covariance) -> tuple[Tensor, Tensor]:
    """Spectrum of the output covariance W C W', descending.

    For more than `WIDE` outputs it is computed by an SVD of WR' with C = R'R.

    Parameters
    ----------
    weight : Tensor (outputs, inputs)
    covariance : Covariance
        Covariance of the inputs.

    Returns
    -------
    float64 Tensor (count,)
        Eigenvalues.
    float64 Tensor (outputs, count)
        Eigenvectors. The count is the number of outputs; above `WIDE` outputs, at most that of the
        inputs.
    """
    weight = weight.double()
    if len(weight) <= WIDE:
        square = outputs_covariance(weight, covariance)
        values, vectors = torch.linalg.eigh((square + square.T) / 2)
        return values.flip(0).clamp_min(0), _signed(vectors.flip(1))
    if isinstance(covariance, ThinCovariance):
        root = covariance.root.double()
    else:
        values, vectors = torch.linalg.eigh(covariance)
        root = (vectors * values.clamp_min(0).sqrt()).T
    vectors, values, _ = torch.linalg.svd(weight @ root.T, full_matrices=False)
    return values.square(), _signed(vectors)


def outputs_covariance(weight: Tensor, covariance: Covariance) -> Tensor:
    """Output covariance W C W' of a weight W (outputs, inputs), float64 (outputs, outputs)."""
    if isinstance(covariance, ThinCovariance):
        outputs = (covariance.root @ weight.to(covariance.root.dtype).T).double()
        return outputs.T @ outputs
    return weight.double() @ covariance @ weight.double().T


def covariance_of(covariance: Covariance, inputs: slice) -> Covariance:
    """Covariance of some of the inputs."""
    if isinstance(covariance, ThinCovariance):
        return ThinCovariance(covariance.root[:, inputs])
    return covariance[inputs, inputs]


def blended(covariance: Covariance, weight: float, other: Tensor, share: float) -> Covariance:
    """Weighted sum of two covariances, of which the other is float64 (inputs, inputs)."""
    if isinstance(covariance, ThinCovariance):
        values, vectors = torch.linalg.eigh(other)
        root = (vectors * values.clamp_min(0).sqrt()).T.to(covariance.root.dtype)
        return ThinCovariance(
            torch.cat([covariance.root * math.sqrt(weight), root * math.sqrt(share)])
        )
    return weight * covariance + share * other


def variances(covariance: Covariance) -> Tensor:
    """Variance of each input, float64 (inputs,)."""
    if isinstance(covariance, ThinCovariance):
        return covariance.root.square().sum(dim=0, dtype=torch.float64)
    return covariance.diagonal()


def balanced_pair(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Pair of factors of the same product with equal norms of corresponding rows and columns.

    Equal norms suit half-precision and int8 numbers, and give both factors similar gradients.
    """
    rows, columns = first.norm(dim=1), second.norm(dim=0)
    scale = torch.sqrt(rows / columns.clamp_min(1e-30)).clamp(1e-12, 1e12)
    scale = torch.where(rows > 0, scale, torch.ones_like(scale))
    return first / scale[:, None], second * scale


def truncate(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Truncated SVD of a weight, the best approximation of its rank in the Frobenius norm.

    Each factor gets the square roots of the singular values.

    Returns
    -------
    float64 Tensor (rank, inputs)
    float64 Tensor (outputs, rank)

    References
    ----------
    Eckart and Young (1936), "The approximation of one matrix by another of lower rank".

    Examples
    --------
    >>> import torch
    >>> from tinysignal.compress.factorize import truncate
    >>> first, second = truncate(torch.outer(torch.arange(3.0), torch.ones(4)), rank=1)
    >>> first.shape, second.shape
    (torch.Size([1, 4]), torch.Size([3, 1]))
    """
    left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
    root = values[:rank].sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root


def project(weight: Tensor, covariance: Covariance, rank: int) -> tuple[Tensor, Tensor]:
    """Factors of a rank with the least mean squared error of the outputs.

    With the first eigenvectors U of the output covariance W C W', the factors are U'W and U. The
    mean squared error over centred inputs is the sum of the other eigenvalues.

    Parameters
    ----------
    weight : Tensor (outputs, inputs)
    covariance : Covariance
        Covariance of the inputs; it may be singular, because it is not inverted.
    rank : int

    Returns
    -------
    float64 Tensor (rank, inputs)
    float64 Tensor (outputs, rank)

    References
    ----------
    Zhang et al. (2016), "Accelerating very deep convolutional networks", eq. 5.
    """
    weight = weight.double()
    vectors = output_spectrum(weight, covariance)[1][:, :rank]
    missing = rank - vectors.shape[1]
    if missing > 0:  # fewer rows than ranks: other directions of the weight complete the factors
        vectors = torch.linalg.qr(torch.cat([vectors, weight[:, :missing]], dim=1)).Q
    return balanced_pair(vectors.T @ weight, vectors)


def regress(weight: Tensor, cross: Tensor, covariance: Tensor, *, ridge: float = RIDGE) -> Tensor:
    """Ridge regression from inputs in the compressed network to original outputs, towards W.

    Parameters
    ----------
    weight : Tensor (outputs, inputs)
        Weight W of the original layer.
    cross : float64 Tensor (inputs, outputs)
        Covariance of the inputs x' with the residuals y - W x' of the original outputs.
    covariance : float64 Tensor (inputs, inputs)
        Covariance of the inputs x'.
    ridge : float
        Regularisation relative to the mean variance of the inputs.

    Returns
    -------
    float64 Tensor (outputs, inputs)
        W itself for constant inputs.

    References
    ----------
    Izenman (1975), "Reduced-rank regression for the multivariate linear model": this regression,
    then `project`. Zhang et al. (2016), sec. 3.3, "asymmetric reconstruction".
    """
    variance = covariance.diagonal().mean()
    if not variance > 0:
        return weight.double()
    ridged = covariance + ridge * variance * torch.eye(len(covariance), dtype=torch.float64)
    return weight.double() + torch.cholesky_solve(cross, torch.linalg.cholesky(ridged)).T


def regress_rows(weight: Tensor, left: Tensor, root: Tensor, *, ridge: float = RIDGE) -> Tensor:
    """Ridge regression of `regress` by a system of the size of the rows instead of the inputs.

    With C = R'R and the residuals L, both divided by the root of the number of rows,
    (R'R + λI)⁻¹ R'L = R' (RR' + λI)⁻¹ L.

    Parameters
    ----------
    weight : Tensor (outputs, inputs)
    left : Tensor (rows, outputs)
        Residuals L.
    root : Tensor (rows, inputs)
        Root R of the covariance.
    ridge : float
        Regularisation relative to the mean variance of the inputs.
    """
    variance = float(variances(ThinCovariance(root)).mean())
    if not variance > 0:
        return weight.double()
    square = (root @ root.T).double()
    ridged = square + ridge * variance * torch.eye(len(square), dtype=torch.float64)
    solved = torch.cholesky_solve(left.double(), torch.linalg.cholesky(ridged))
    return weight.double() + (root.T @ solved.to(root.dtype)).double().T


def corrected_bias(bias: Tensor, weight: Tensor, dense: Tensor, mean: Tensor) -> Tensor:
    """Bias that keeps the mean of the outputs: b + (W - W') mean(x)."""
    return bias.double() + (weight.double() - dense) @ mean


def squared_error(weight: Tensor, dense: Tensor, covariance: Covariance) -> float:
    """Mean squared error of a layer with corrected bias, summed over its outputs."""
    gap = weight.double() - dense
    if isinstance(covariance, ThinCovariance):
        return float((covariance.root @ gap.T.to(covariance.root.dtype)).double().square().sum())
    return float(((gap @ covariance) * gap).sum())
