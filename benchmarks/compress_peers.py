"""Other ways to compress a network to a budget: for ``compress.py peers`` and ``published.py``.

pip install torch-pruning tensorly-torch
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tinysignal.compress import LayerPlan, LayerProfile, Plan, apply, plan, profile
from tinysignal.datasets import Dataset

Batches = list[tuple[Tensor, Tensor]]
Make = Callable[[nn.Module, Batches, int], nn.Module]
Loss = Callable[[Tensor, Tensor], Tensor]


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


def equal_shares(net: nn.Module, given: Batches, budget: int) -> nn.Module:
    """Truncated SVD that leaves every layer the same share of its weights."""
    profiled = profile(net, given)

    def cut(share: float) -> nn.Module:
        layers = tuple(_at_share(layer, share) for layer in profiled.layers)
        return apply(net, Plan("svd", {"params": share}, layers), profiled)

    return largest(cut, budget)


def _at_share(layer: LayerProfile, share: float) -> LayerPlan:
    """Rank 1, or the largest whose weights are at most this share of the layer's."""
    usual = layer.decompositions[0]
    ranks = range(1, layer.largest_rank(usual) + 1)
    fitting = [r for r in ranks if layer.cost(usual, r)[0] <= share * layer.parameters]
    rank = max(fitting, default=1) if ranks else None
    return LayerPlan(layer.name, layer.kind, usual, layer.exact_rank(usual), rank)


def tensorly_torch(net: nn.Module, given: Batches, budget: int) -> nn.Module:
    """TensorLy-Torch's Tucker layers, decomposed out of the dense ones; its only SVD-like kind.

    Without splitting the axes (one mode each) Tucker of a matrix is its truncated SVD; the share
    of the parameters is the highest that fits.
    """

    def cut(share: float) -> nn.Module:
        small = copy.deepcopy(net)
        for name, layer in _layers(small)[:-1]:
            if isinstance(layer, nn.Linear):
                small.set_submodule(name, _tucker_linear(layer, share))
            elif layer.groups == 1:
                small.set_submodule(name, _tucker_convolution(layer, share))
        return small

    return largest(cut, budget)


def _tucker_linear(layer: nn.Linear, share: float) -> nn.Module:
    import tltorch

    made: nn.Module = tltorch.FactorizedLinear.from_linear(
        layer,
        rank=share,
        auto_tensorize=False,
        in_tensorized_features=(layer.in_features,),
        out_tensorized_features=(layer.out_features,),
        factorization="tucker",
        implementation="reconstructed",
    )
    return made


def _tucker_convolution(layer: nn.Module, share: float) -> nn.Module:
    import tltorch

    made: nn.Module = tltorch.FactorizedConv.from_conv(
        layer, rank=share, factorization="tucker", implementation="factorized"
    )
    return made


def torch_pruning(
    net: nn.Module, given: Batches, budget: int, loss: Loss | None = cross_entropy
) -> nn.Module:
    """Torch-Pruning's whole units, by Taylor importance on the calibration data.

    Without a loss, for data without labels, by the size of the weights.
    """
    import torch_pruning as pruning

    heads = _heads(net)

    def cut(kept: float) -> nn.Module:
        small = copy.deepcopy(net)
        importance = pruning.importance
        pruner = pruning.pruner.MetaPruner(
            small,
            given[0][0][:2],
            importance=importance.GroupTaylorImportance()
            if loss
            else importance.GroupMagnitudeImportance(),
            pruning_ratio=1 - kept,
            global_pruning=False,
            ignored_layers=[_layers(small)[-1][1]],
            num_heads={
                small.get_submodule(f"{name}.{part}"): many
                for name, many in heads.items()
                for part in ("q_proj", "k_proj", "v_proj")
            },
        )
        if loss:
            small.zero_grad()
            for inputs, labels in given:
                loss(small(inputs), labels).backward()
        pruner.step()
        for name, many in heads.items():
            attention: Any = small.get_submodule(name)
            attention.head_dim = attention.q_proj.out_features // many
        return small

    return largest(cut, budget)


def _heads(net: nn.Module) -> dict[str, int]:
    """Heads of the attentions of `transformers`, by their names."""
    return {
        name: int(module.q_proj.out_features // module.head_dim)
        for name, module in net.named_modules()
        if isinstance(getattr(module, "q_proj", None), nn.Linear)
    }


def largest(cut: Callable[[float], nn.Module], budget: int) -> nn.Module:
    """The largest network within a budget, by halving the interval of shares.

    Raises
    ------
    ValueError
        None is.
    """
    low, high = 0.0, 1.0
    best = None
    for _ in range(8):
        share = (low + high) / 2
        small = cut(share)
        if count(small) <= budget:
            low, best = share, small
        else:
            high = share
    if best is None:
        raise ValueError("does not get that small")
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

    def loss(given: Tensor, index: Tensor) -> Tensor:
        return distilled(given, answers[index], labels[index])

    small.train()
    fit(small, images, loss, epochs=epochs, batch=256, rate=1e-3)
    small.eval()


def distilled(given: Tensor, answers: Tensor, labels: Tensor) -> Tensor:
    """Nine tenths of the original's answers, a tenth of the labels (Hinton et al., 2015)."""
    soft = cross_entropy(given / 2, (answers / 2).softmax(dim=1))
    return 0.9 * 4 * soft + 0.1 * cross_entropy(given, labels)


def fit(
    net: nn.Module,
    inputs: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int = 0,
) -> None:
    """Adam in one cycle of the rate; ``loss`` takes the outputs and the places of the examples."""
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad])
    steps = epochs * -(-len(inputs) // batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        for index in torch.randperm(len(inputs)).split(batch):
            optimizer.zero_grad()
            loss(net(inputs[index]), index).backward()
            optimizer.step()
            cycle.step()


def count(net: nn.Module) -> int:
    """Parameters."""
    return sum(p.numel() for p in net.parameters())


def _layers(net: nn.Module) -> list[tuple[str, nn.Linear | nn.Conv1d | nn.Conv2d]]:
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    return [(name, m) for name, m in net.named_modules() if isinstance(m, kinds)]
