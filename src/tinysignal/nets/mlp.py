"""Multilayer perceptron for classification, as in the course."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

NORMS: dict[str, type[nn.Module] | None] = {"none": None, "batch": nn.BatchNorm1d}


class Mlp(nn.Module):
    """Fully connected layers on all values of an example.

    The defaults at 28 x 28 values are the network of the course's exercise: five hidden layers of
    1024 units, each followed by ReLU and dropout, and a linear output.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of an example.
    classes : int
        Number of outputs.
    width, depth : int
        Units of a hidden layer, and number of hidden layers; 0 layers are logistic regression.
    dropout : float
        Fraction of hidden units that dropout sets to zero in training.
    norm : {"none", "batch"}
        Normalisation between a hidden layer and its activation.
    mean, std : float
        Mean and standard deviation of the training values, by which the network normalises.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.nets.mlp import Mlp
    >>> net = Mlp(shape=(8, 8), classes=10, width=32, depth=2)
    >>> net(torch.zeros(5, 8, 8)).shape
    torch.Size([5, 10])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        shape: tuple[int, int],
        classes: int,
        width: int = 1024,
        depth: int = 5,
        dropout: float = 0.2,
        norm: str = "none",
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        layers: list[nn.Module] = []
        sizes = [shape[0] * shape[1], *[width] * depth]
        for inputs, outputs in pairwise(sizes):
            layers.append(nn.Linear(inputs, outputs))
            normalise = NORMS[norm]
            if normalise is not None:
                layers.append(normalise(outputs))
            layers.append(nn.ReLU())
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, examples: Tensor) -> Tensor:
        """Logits, float (examples, classes), of examples, float (examples, rows, columns)."""
        logits: Tensor = self.layers(((examples - self.mean) / self.std).flatten(1))
        return logits
