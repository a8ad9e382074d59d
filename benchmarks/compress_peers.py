"""Other tools that compress a network, at one budget: for ``compress.py peers``.

pip install torch-pruning tensorly-torch
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tinysignal.compress import apply, plan, profile
from tinysignal.datasets import Dataset

Batches = list[tuple[Tensor, Tensor]]
Make = Callable[[nn.Module, Batches, int], nn.Module]


def ours(net: nn.Module, given: Batches, budget: int) -> nn.Module:
    """What the command does."""
    profiled = profile(net, given)
    return apply(net, plan(profiled, params=budget), profiled)


def truncated(net: nn.Module, given: Batches, budget: int) -> nn.Module:
    """The course's: every matrix at the same rank, nothing else looked at."""
    profiled = profile(net, given)
    best = net
    for rank in range(1, 200):
        small = apply(net, plan(profiled, rank=rank, method="svd"), profiled)
        if count(small) > budget:
            break
        best = small
    return best


def tensorly_torch(net: nn.Module, given: Batches, budget: int) -> nn.Module:
    """TensorLy-Torch's Tucker layers, decomposed out of the dense ones; its only SVD-like kind.

    Without splitting the axes (one mode each) Tucker of a matrix is its truncated SVD; the share
    of the parameters is the highest that fits.
    """
    import tltorch

    low, high = 0.0, 1.0
    best = net
    for _ in range(8):
        share = (low + high) / 2
        small = copy.deepcopy(net)
        for name, layer in _linears(small)[:-1]:
            factored = tltorch.FactorizedLinear.from_linear(
                layer,
                rank=share,
                auto_tensorize=False,
                in_tensorized_features=(layer.in_features,),
                out_tensorized_features=(layer.out_features,),
                factorization="tucker",
                implementation="reconstructed",
            )
            small.set_submodule(name, factored)
        if count(small) <= budget:
            low, best = share, small
        else:
            high = share
    return best


def torch_pruning(net: nn.Module, given: Batches, budget: int) -> nn.Module:
    """Torch-Pruning's whole units, by Taylor importance on the calibration images."""
    import torch_pruning as pruning

    low, high = 0.0, 1.0
    best = net
    for _ in range(10):
        share = (low + high) / 2
        small = copy.deepcopy(net)
        last = _linears(small)[-1][1]
        pruner = pruning.pruner.MetaPruner(
            small,
            given[0][0][:2],
            importance=pruning.importance.GroupTaylorImportance(),
            pruning_ratio=share,
            global_pruning=False,
            ignored_layers=[last],
        )
        small.zero_grad()
        for images, labels in given:
            cross_entropy(small(images), labels).backward()
        pruner.step()
        if count(small) <= budget:
            high, best = share, small
        else:
            low = share
    return best


PEERS: dict[str, Make] = {
    "tinysignal": ours,
    "truncated SVD": truncated,
    "tensorly-torch 0.5.0 (Tucker)": tensorly_torch,
    "torch-pruning 1.6.1 (units)": torch_pruning,
}


def retrain(small: nn.Module, net: nn.Module, data: Dataset, *, epochs: int) -> None:
    """The same for all: the original's answers and the labels, one cycle, batches of 256."""
    images, labels = torch.from_numpy(data.train.as_float()), torch.from_numpy(data.train.labels)
    net.eval()
    with torch.no_grad():
        answers = torch.cat([net(part) for part in images.split(1000)])
    for layer in small.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    torch.manual_seed(0)
    small.train()
    optimizer = torch.optim.Adam([p for p in small.parameters() if p.requires_grad])
    steps = epochs * -(-len(images) // 256)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        for index in torch.randperm(len(images)).split(256):
            given = small(images[index])
            soft = (answers[index] / 2).softmax(dim=1)
            loss = 0.9 * 4 * cross_entropy(given / 2, soft) + 0.1 * cross_entropy(
                given, labels[index]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
    small.eval()


def count(net: nn.Module) -> int:
    """Parameters."""
    return sum(p.numel() for p in net.parameters())


def _linears(net: nn.Module) -> list[tuple[str, nn.Linear]]:
    return [(name, m) for name, m in net.named_modules() if isinstance(m, nn.Linear)]
