"""The algebra: a weight matrix as a product of two or three smaller ones. Float64 throughout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

RIDGE = 1e-3  # of the inputs' mean variance; a regression on fewer rows than inputs needs it
WIDE = 4096  # inputs or outputs, above which no square matrix of that size is made
WIDE_ROWS = 2048  # that the covariance of more inputs is taken from


@dataclass(frozen=True)
class Factors:
    """The factors that replace a weight.

    Parameters
    ----------
    decomposition : str
        ``low_rank``, or of a convolution see `tinysignal.compress.layers.convolution`.
    parts : tuple of float64 Tensor
        In the order in which an input meets them: (rank, inputs) and (outputs, rank) of
        ``low_rank`` and ``channel``.
    dense : float64 Tensor (outputs, inputs)
        Their product.
    bias : float64 Tensor (outputs,)
    """

    decomposition: str
    parts: tuple[Tensor, ...]
    dense: Tensor
    bias: Tensor


@dataclass(frozen=True)
class ThinCovariance:
    """The covariance of more than `WIDE` inputs, as R of R'R: their square would fill the memory.

    Parameters
    ----------
    root : Tensor (rows, inputs)
        Some centred rows, each over the square root of their number.
    """

    root: Tensor


Covariance = Tensor | ThinCovariance  # float64 (inputs, inputs), or of many inputs its root


@dataclass(frozen=True)
class Moments:
    """First and second moments of rows of inputs, and how many there were.

    Parameters
    ----------
    mean : float64 Tensor (inputs,)
    covariance : float64 Tensor (inputs, inputs) or ThinCovariance
    rows : int
    """

    mean: Tensor
    covariance: Covariance
    rows: int


class MomentSum:
    """Moments that are summed up batch after batch (Chan et al., 1979: no cancellation).

    Of more than `WIDE` inputs, the mean is that of all rows, the covariance that of some of them.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._mean: Any = None
        self._scatter: Any = None
        self._some: Any = None  # of many inputs, every `_stride`-th row
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
        """The moments of all rows."""
        if self._scatter is None:
            return Moments(self._mean, thin(self._some, self._mean), self.rows)
        return Moments(self._mean, self._scatter / self.rows, self.rows)


def _scatter(rows: Tensor, mean: Tensor) -> Tensor:
    centred = rows - mean.to(rows.dtype)
    return (centred.T @ centred).double()


def thin(rows: Tensor, mean: Tensor) -> ThinCovariance:
    """The covariance of rows (rows, inputs), about a mean (inputs,)."""
    return ThinCovariance((rows - mean.to(rows.dtype)) / math.sqrt(len(rows)))


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
    return _signed(
        torch.linalg.eigh((covariance + covariance.T) / 2).eigenvectors.flip(1)[:, :rank]
    )


def _signed(vectors: Tensor) -> Tensor:
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    signed: Tensor = vectors * torch.where(largest < 0, -1.0, 1.0)
    return signed


def output_spectrum(weight: Tensor, covariance: Covariance) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of W C W', what a layer puts out, the largest first.

    Of more than `WIDE` outputs, those of WR' with C = R'R, by its singular values: then W C W' is
    never made.

    Parameters
    ----------
    weight : Tensor (outputs, inputs)
    covariance : Covariance

    Returns
    -------
    float64 Tensor (count,), float64 Tensor (outputs, count)
        As many as there are outputs, or inputs if these are fewer than `WIDE` outputs.
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
    """W C W' of a weight W (outputs, inputs), float64 (outputs, outputs)."""
    if isinstance(covariance, ThinCovariance):
        outputs = (covariance.root @ weight.to(covariance.root.dtype).T).double()
        return outputs.T @ outputs
    return weight.double() @ covariance @ weight.double().T


def variances(covariance: Covariance) -> Tensor:
    """Of each input, float64 (inputs,)."""
    if isinstance(covariance, ThinCovariance):
        return covariance.root.square().sum(dim=0, dtype=torch.float64)
    return covariance.diagonal()


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


def project(weight: Tensor, covariance: Covariance, rank: int) -> tuple[Tensor, Tensor]:
    """The pair that keeps the outputs' principal components: no map of its rank errs less.

    With U the top eigenvectors of the outputs' covariance W C W', the factors are U'W and U. The
    mean squared error over centred inputs is the sum of the eigenvalues left out.

    Parameters
    ----------
    weight : Tensor (outputs, inputs)
    covariance : Covariance
        Of the inputs. It may be singular: nothing is inverted.
    rank : int

    References
    ----------
    Zhang et al. (2016), "Accelerating very deep convolutional networks", eq. 5.
    """
    weight = weight.double()
    vectors = output_spectrum(weight, covariance)[1][:, :rank]
    missing = rank - vectors.shape[1]
    if missing > 0:  # fewer rows than ranks: whatever else the weight puts out
        vectors = torch.linalg.qr(torch.cat([vectors, weight[:, :missing]], dim=1)).Q
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


def regress_rows(weight: Tensor, left: Tensor, root: Tensor, *, ridge: float = RIDGE) -> Tensor:
    """`regress` with a system of the rows' size instead of the inputs'.

    With R of C = R'R and L what W leaves, both over the root of the number of rows,
    (R'R + λI)⁻¹ R'L = R' (RR' + λI)⁻¹ L.

    Parameters
    ----------
    weight : Tensor (outputs, inputs)
    left : Tensor (rows, outputs)
    root : Tensor (rows, inputs)
    ridge : float
    """
    variance = float(variances(ThinCovariance(root)).mean())
    if not variance > 0:
        return weight.double()
    square = (root @ root.T).double()
    ridged = square + ridge * variance * torch.eye(len(square), dtype=torch.float64)
    solved = torch.cholesky_solve(left.double(), torch.linalg.cholesky(ridged))
    return weight.double() + (root.T @ solved.to(root.dtype)).double().T


def corrected_bias(bias: Tensor, weight: Tensor, dense: Tensor, mean: Tensor) -> Tensor:
    """The bias that leaves the outputs' mean as it was: b + (W - W') mean(x)."""
    return bias.double() + (weight.double() - dense) @ mean


def squared_error(weight: Tensor, dense: Tensor, covariance: Covariance) -> float:
    """Mean squared error of a layer's outputs, summed over them, its bias corrected."""
    gap = weight.double() - dense
    if isinstance(covariance, ThinCovariance):
        return float((covariance.root @ gap.T.to(covariance.root.dtype)).double().square().sum())
    return float(((gap @ covariance) * gap).sum())
