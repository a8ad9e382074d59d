"""The course's classifier: a plain multilayer perceptron."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

NORMS: dict[str, type[nn.Module] | None] = {"none": None, "batch": nn.BatchNorm1d}


class Mlp(nn.Module):
    """Fully connected layers on all values of an example.

    With the defaults at 28 x 28 values it is the network of the course's exercise: five hidden
    layers of 1024, ReLU and dropout after each, a linear output.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of an example.
    classes : int
    width, depth : int
        Units of a hidden layer, and how many of them; a depth of 0 is logistic regression.
    dropout : float
        Fraction of hidden units that are silenced in training.
    norm : {"none", "batch"}
        Normalisation between a hidden layer and its activation.
    mean, std : float
        Of the training values; examples are normalised by them inside the network.
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
        """Logits, float (examples, classes), of float (examples, rows, columns)."""
        logits: Tensor = self.layers(((examples - self.mean) / self.std).flatten(1))
        return logits
