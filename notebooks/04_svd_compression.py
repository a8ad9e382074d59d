# %% [markdown]
# # 4. Compression by singular value decomposition
#
# The fourth exercise: the weight matrices of the perceptron have 1024 x 1024 numbers, and use far fewer
# directions. We cut them, watch the accuracy, and train the small network on.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from tinysignal.budget import Budget
from tinysignal.datasets import load_dataset
from tinysignal.runs import CompressOptions, compress_run, load_run
from tinysignal.train import ClassifierConfig, train_classifier
from tinysignal.train.tuning import TuneOptions

QUICK = os.environ.get("TINYSIGNAL_QUICK") == "1"
NAME = "digits" if QUICK and "TINYSIGNAL_DATA" not in os.environ else "mnist"
RUN = Path("runs") / NAME
RANKS = [10, 20, 50, 100] if QUICK else [10, 20, 50, 100, 200]

if not (RUN / "metrics.json").exists():  # the network of the first notebook
    config = ClassifierConfig(
        data=NAME, recipe="course", epochs=1 if QUICK else 20, width=128 if QUICK else 1024, seed=0
    )
    train_classifier(config, RUN, quiet=True)
network, spec = load_run(RUN)
test = load_dataset(NAME).for_model(spec).test


def accuracy(net: torch.nn.Module) -> float:
    """Share of the test examples that are classified correctly."""
    with torch.no_grad():
        logits = net(torch.tensor(test.as_float()))
    return float((logits.argmax(dim=1).numpy() == test.labels).mean())


print(f"{100 * accuracy(network):.2f} %, {spec.parameters:,} parameters")

# %% [markdown]
# ## The decomposition
#
# Every matrix is a product $W = U\,\mathrm{diag}(s)\,V^T$ with orthonormal columns in $U$ and $V$ and
# singular values $s_1 \ge s_2 \ge \dots \ge 0$. Cutting all but the first $r$ gives the closest matrix of rank
# $r$ (Eckart and Young, 1936).

# %%
weights = {name: w.detach().numpy() for name, w in network.named_parameters() if w.ndim == 2}
plt.figure(figsize=(6, 3.2))
for name, weight in weights.items():
    values = np.linalg.svd(weight, compute_uv=False)
    plt.semilogy(values / values[0], label=f"{name} {weight.shape[0]} x {weight.shape[1]}")
plt.xlabel("number")
plt.ylabel("singular value, relative to the first")
plt.legend(fontsize=7);

# %% [markdown]
# ## Cut, and measure
#
# **Before you run it:** how many parameters has a 1024 x 1024 matrix of rank 20, kept as two thin factors?
#
# <details><summary>Answer</summary>
#
# $20 \cdot (1024 + 1024) = 40{,}960$ instead of 1,048,576: 3.9 %. Kept as one matrix it would have as many as
# before: only the factors save anything.
# </details>

# %%
import copy


def cut(net: torch.nn.Module, rank: int) -> torch.nn.Module:
    """A copy whose hidden matrices have at most this rank, as the course did it."""
    small = copy.deepcopy(net)
    with torch.no_grad():
        for weight in (w for w in small.parameters() if w.ndim == 2 and min(w.shape) > rank):
            u, s, vt = np.linalg.svd(weight.numpy(), full_matrices=False)
            weight.copy_(torch.tensor((u[:, :rank] * s[:rank]) @ vt[:rank]))
    return small


COURSE = {10: 62.5, 20: 85.2, 50: 92.7, 100: 94.8, 200: 95.1}  # of a network with 95.4 %
ours = {rank: 100 * accuracy(cut(network, rank)) for rank in RANKS}
print("rank   the course   here")
for rank, percent in ours.items():
    print(f"{rank:4}   {COURSE[rank]:8.1f} %   {percent:5.2f} %")

# %% [markdown]
# ## Better than cutting
#
# The SVD keeps what is large in $W$. What counts is what is large in the layer's *output*, for the examples
# that it really sees, so `compress` weighs directions by data, gives each layer the rank that it needs, and
# corrects each layer for the errors of those before it. No labels are needed.
#
# Then the small network is trained on for a few epochs.

# %%
reports = {}
for name, options in {
    "not trained on": CompressOptions(budget=Budget(rank=20), seed=0),
    "trained on": CompressOptions(
        budget=Budget(rank=20), tune=TuneOptions(epochs=1 if QUICK else 3), seed=0
    ),
}.items():
    folder = Path("runs") / f"{NAME}-rank-20-{name.replace(' ', '-')}"
    if not folder.exists():
        compress_run(RUN, folder, options, quiet=True)
    small, small_spec = load_run(folder)
    share = sum(p.numel() for p in small.parameters()) / spec.parameters
    print(f"rank 20, {name:15} {100 * accuracy(small):.2f} %, {100 * share:.1f} % of the parameters")
print(small)

# %% [markdown]
# | rank 20 | accuracy | memory |
# | --- | ---: | ---: |
# | the course, retrained | 95.68 % | 4 % |
# | here, 98.27 % before, not trained on | 97.44 % | 4.3 % |
# | here, trained on | 98.14 % | 4.3 % |
#
# **The course's small network became better than its original of 95.4 %. How can that be?**
#
# <details><summary>Answer</summary>
#
# It has had more training, and a network with few directions cannot learn examples by heart. Here the original
# was trained better, and a few hundredths are lost.
# </details>
#
# Real bytes and milliseconds of each rank, budgets, and other tools: [measured](../docs/benchmarks/compress.md).
