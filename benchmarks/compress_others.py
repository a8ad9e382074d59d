"""Networks that are not ours, at half of their parameters: for ``compress.py others``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from lightning.pytorch.demos.boring_classes import Net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class StripGru(nn.Module):
    """Torch's GRU over a picture's four strips of seven rows, as tutorials classify by rows."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(196, 64, num_layers=2, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float (examples, classes), of float (examples, 28, 28)."""
        outputs, _ = self.gru(images.reshape(-1, 4, 196))
        logits: Tensor = self.head(outputs[:, -1])
        return logits


@dataclass(frozen=True)
class Other:
    """A network of another origin, and what stands before it."""

    make: Callable[[], nn.Module]
    shape: Callable[[Tensor], Tensor]


OTHERS = {
    "PyTorch's MNIST example (CNN), from Lightning": Other(Net, lambda images: images[:, None]),
    "torch.nn.GRU, two layers": Other(StripGru, lambda images: images),
}


def train(net: nn.Module, images: Tensor, labels: Tensor, *, epochs: int) -> None:
    """Adam with batches of 128, on answers that are logits or their logarithmic softmax."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    net.train()
    for _ in range(epochs):
        for index in torch.randperm(len(images)).split(128):
            optimizer.zero_grad()
            cross_entropy(net(images[index]), labels[index]).backward()
            optimizer.step()
    net.eval()
