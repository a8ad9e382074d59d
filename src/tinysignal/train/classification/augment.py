"""Random deformation of batches of examples, on their device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


@dataclass(frozen=True, kw_only=True)
class Deformation:
    """Bounds of random affine maps, and strength of random elastic fields.

    Parameters
    ----------
    rotate_deg : float
        Largest rotation in degrees.
    scale : float
        Largest logarithm of the stretch of width and of height.
    shear : float
        Largest shear in columns per row.
    shift : (float, float)
        Largest shifts along rows and along columns as fractions of their numbers.
    elastic : float
        Standard deviation of the elastic field as a fraction of the size.
    mirror : bool
        Whether left and right are exchanged at random.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.train.classification.augment import Deformation
    >>> Deformation(rotate_deg=10, elastic=0.02)(torch.rand(4, 28, 28)).shape
    torch.Size([4, 28, 28])
    """

    rotate_deg: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    elastic: float = 0.0
    mirror: bool = False

    def __call__(self, examples: Tensor) -> Tensor:
        """Deformed examples; values outside an example repeat its edge.

        Parameters
        ----------
        examples : float (examples, rows, columns)
            Examples. The random numbers come from torch's generator of their device.

        Returns
        -------
        float (examples, rows, columns)

        References
        ----------
        Simard, Steinkraus and Platt (2003), "Best practices for convolutional neural networks
        applied to visual document analysis", section 2.
        """
        if self == Deformation():
            return examples
        count, rows, columns = examples.shape
        half = examples.new_tensor([columns / 2, rows / 2])
        places = _pixel_centres(examples) @ self._matrices(examples).transpose(1, 2)
        furthest = 2 * half * examples.new_tensor(self.shift[::-1])
        places = places + furthest * _uniform(examples, count, 1, 2)
        places = places.view(count, rows, columns, 2)
        if self.elastic:
            places = places + 2 * self.elastic * half * _smooth_fields(examples)
        return grid_sample(
            examples[:, None], places / half, padding_mode="border", align_corners=False
        )[:, 0]

    def _matrices(self, examples: Tensor) -> Tensor:
        """Matrices from pixel positions in the result to those in the example, (examples, 2, 2)."""
        count = examples.shape[0]
        angle = math.radians(self.rotate_deg) * _uniform(examples, count)
        across, down = torch.exp(self.scale * _uniform(examples, 2, count))
        if self.mirror:
            across = across * torch.where(_uniform(examples, count) < 0, -1.0, 1.0)
        lean = self.shear * _uniform(examples, count)
        cos, sin = angle.cos(), angle.sin()
        entries = [cos * across, (cos * lean - sin) * down, sin * across, (sin * lean + cos) * down]
        return torch.stack(entries, dim=1).view(count, 2, 2)


def _uniform(like: Tensor, *shape: int) -> Tensor:
    """Uniform random numbers from -1 to 1."""
    return 2 * torch.rand(*shape, device=like.device) - 1


def _pixel_centres(examples: Tensor) -> Tensor:
    """Column and row of every pixel relative to the middle, (1, rows * columns, 2)."""
    rows, columns = examples.shape[1:]
    down = torch.arange(rows, device=examples.device) - (rows - 1) / 2
    across = torch.arange(columns, device=examples.device) - (columns - 1) / 2
    row, column = torch.meshgrid(down, across, indexing="ij")
    return torch.stack([column, row], dim=2).view(1, -1, 2)


def _smooth_fields(examples: Tensor) -> Tensor:
    """Smoothed noise of unit variance at every pixel, (examples, rows, columns, 2)."""
    count, rows, columns = examples.shape
    noise = torch.randn(count, 2, rows, columns, device=examples.device)
    smooth = _smoothing(rows, noise) @ noise @ _smoothing(columns, noise).T
    return smooth.permute(0, 2, 3, 1)


def _smoothing(length: int, like: Tensor) -> Tensor:
    """Gaussian smoothing matrix, of width length / 6, that keeps the variance of white noise."""
    place = torch.arange(length, device=like.device, dtype=like.dtype)
    weight = torch.exp(-0.5 * ((place[:, None] - place) / (length / 6)) ** 2)
    return weight / weight.square().sum(dim=1, keepdim=True).sqrt()
