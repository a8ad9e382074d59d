# %% [markdown]
# # 5. A network of your own
#
# `inspect` and `compress` take any PyTorch network and any batches. Here it is a small convolutional one that
# was written without this package.

# %%
import os

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from tinysignal.compress import compress, rebuild
from tinysignal.inspect import inspect

QUICK = os.environ.get("TINYSIGNAL_QUICK") == "1"
torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)
order = torch.randperm(len(labels))
train, test = order[:1400], order[1400:]


class Net(nn.Module):
    """Two convolutions with a shortcut, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 32, 3, padding=1)
        self.hidden = nn.Linear(32 * 16, 256)
        self.head = nn.Linear(256, 10)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.first(x))
        x = x + self.act(self.second(x))
        x = nn.functional.max_pool2d(x, 2).flatten(1)
        return self.head(self.act(self.hidden(x)))


def fit(net: nn.Module, steps: int, rate: float) -> nn.Module:
    """The usual loop."""
    optimizer = torch.optim.Adam(net.parameters(), rate)
    for _ in range(steps):
        batch = train[torch.randint(len(train), (64,))]
        loss = nn.functional.cross_entropy(net(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def accuracy(net: nn.Module) -> float:
    with torch.no_grad():
        return float((net(images[test]).argmax(1) == labels[test]).float().mean())


net = fit(Net(), 50 if QUICK else 500, 1e-3)
print(f"{100 * accuracy(net):.2f} %")

# %% [markdown]
# ## Look inside
#
# Any iterable of labelled batches will do. Here it is a single batch of the test examples.

# %%
found = inspect(net, [(images[test], labels[test])], points=350, methods=["PCA"])
for row in found.table:
    print(f"{row.name:8} {row.kind:8} {row.shape:12} {row.macs:8,} MACs, effective rank {row.effective_rank:.0f}")
figure, axes = plt.subplots(1, len(found.layers), figsize=(2.4 * len(found.layers), 2.6))
for axis, layer in zip(axes, found.layers, strict=True):
    axis.scatter(*layer.maps[0].points.T, c=found.labels[found.sample], cmap="tab10", s=3)
    axis.set(xticks=[], yticks=[], title=f"{layer.title}\n{100 * layer.knn_accuracy:.1f} %")
figure.tight_layout()

# %% [markdown]
# ## Make it smaller
#
# A quarter of the parameters; the head stays whole. The batches are for calibration and need no labels.

# %%
batches = [images[part] for part in train.split(256)]
small = compress(net, batches, params=0.25, ignore=["head"])
print(small)
print(f"{100 * accuracy(net):.2f} % before, {100 * accuracy(small.network):.2f} % after")

# %% [markdown]
# The result is made of plain torch modules. Train it on as you trained the original:

# %%
fit(small.network.train(), 30 if QUICK else 200, 3e-4)
print(f"{100 * accuracy(small.network):.2f} % after training on")
print(small.network)

# %% [markdown]
# ## Keep it
#
# The plan says what each layer became; with it, a new process builds the small network from your class and
# loads the weights. `torch.onnx.export` takes it as it takes any network.

# %%
torch.save(small.network.state_dict(), "small.pt")
again = rebuild(Net(), small.plan)
again.load_state_dict(torch.load("small.pt", weights_only=True))
again.eval()
print(bool(torch.equal(again(images[test]), small.network(images[test]))))
