"""Distance of a compressed network's outputs from the original's, over all of its outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinysignal.compress.profile import Batches, Profile
from tinysignal.errors import ConfigError
from tinysignal.nets.batches import Batch, class_axis, heads, run
from tinysignal.nets.introspection import evaluating

LOSSES = ("auto", "kl", "mse")
Weights = Mapping[str, float]  # of outputs, by name
_MOST_EXAMPLES = 256  # examples for the loss of a single compressed layer


@dataclass(frozen=True)
class Head:
    """How one output is compared: ``kl`` or ``mse``, the axis of its classes, its weight.

    Without an axis, every value is a prediction of its own.
    """

    kind: str
    axis: int | None
    weight: float


class OutputLoss:
    """Distance of a network's outputs from those of the original, on calibration data.

    The losses of all outputs are added: nats per prediction for classes, error relative to the
    variance of the output for all others.

    Parameters
    ----------
    profile : Profile
    batches : tuple of Batch
    loss : {"auto", "kl", "mse"} or dict of str to Head
        See `tinysignal.compress.plan`; or the heads of another loss.
    weights : mapping of str to float
        Weights of outputs by name; 1 for the others.
    most : int
        Examples to compare.

    Raises
    ------
    ConfigError
        An unknown loss, or a weight for an output that the network has not.
    """

    def __init__(
        self,
        profile: Profile,
        batches: Batches,
        loss: str | dict[str, Head],
        *,
        weights: Weights | None = None,
        most: int = _MOST_EXAMPLES,
    ) -> None:
        if isinstance(loss, str) and loss not in LOSSES:
            raise ConfigError(f"loss is '{loss}', expected auto, kl or mse.")
        self._forward = profile.forward
        self._batches = _some(batches, most)
        parts = self._parts(profile.network)
        labels = self._batches[0].labels
        if isinstance(loss, str):
            first = {name: tensors[0] for name, tensors in parts.items()}
            self.heads = _heads(first, labels, loss, weights or {})
        else:
            self.heads = loss
        self._original = {name: self._rows(name, parts[name]) for name in self.heads}

    @property
    def kind(self) -> str:
        """What is measured: ``kl``, ``mse``, or both for outputs of both kinds."""
        return " + ".join(sorted({head.kind for head in self.heads.values()}))

    def _parts(self, network: nn.Module) -> dict[str, list[Tensor]]:
        found: dict[str, list[Tensor]] = {}
        with evaluating(network):
            for batch in self._batches:
                for name, output in heads(run(network, batch, self._forward)).items():
                    found.setdefault(name, []).append(output)
        return found

    def _rows(self, name: str, parts: list[Tensor]) -> Tensor:
        """An output of all batches as one matrix, float64 (predictions, values)."""
        last = [_by_prediction(part, self.heads[name].axis) for part in parts]
        if len({part.shape[-1] for part in last}) > 1:  # ragged batches
            last = [part.reshape(-1, 1) for part in last]
        return torch.cat(last).double()

    def __call__(self, network: nn.Module) -> float:
        """Loss of a network; infinite if its outputs are not finite."""
        parts = self._parts(network)
        rows = {name: self._rows(name, parts[name]) for name in self.heads}
        total = float(self._distance(rows, self._original))
        return total if math.isfinite(total) else math.inf

    def between(self, outputs: Mapping[str, Tensor], original: Mapping[str, Tensor]) -> Tensor:
        """Loss of one batch, for gradients; errors are relative to the variance in these data.

        Parameters
        ----------
        outputs, original : mapping of str to Tensor
            Outputs of two networks by name, see `tinysignal.nets.batches.heads`.
        """
        ours, theirs = (
            {name: _by_prediction(found[name], head.axis) for name, head in self.heads.items()}
            for found in (outputs, original)
        )
        return self._distance(ours, theirs)

    def _distance(self, outputs: Mapping[str, Tensor], original: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros(())
        for name, head in self.heads.items():
            found = (
                _divergence(outputs[name], original[name])
                if head.kind == "kl"
                else (outputs[name] - original[name]).square().sum(dim=1).mean()
                / self._spread(name, outputs[name].shape[1])
            )
            total = total.to(found) + head.weight * found
        return total

    def _spread(self, name: str, values: int) -> float:
        """Variance of an output, summed over the values of a prediction."""
        original = self._original[name]
        spread = float(original.var(dim=0, correction=0).sum())
        return max(spread * values / original.shape[1], 1e-30)  # ragged batches are one column


def _heads(
    outputs: Mapping[str, Tensor],
    labels: Tensor | None,
    loss: str,
    weights: Weights,
) -> dict[str, Head]:
    for name in weights:
        if name not in outputs:
            raise ConfigError(
                f"weights: no output '{name}', expected some of {', '.join(map(repr, outputs))}."
            )
    made = {}
    for name, output in outputs.items():
        axis = None if labels is None else class_axis(output, labels)
        logit = labels is not None and output.shape[-1:] == (1,) and len(output) == len(labels)
        logit = logit or (labels is not None and output.shape == labels.shape)
        classes = axis is not None or logit or (output.ndim == 2 and output.shape[1] > 1)
        kind = loss if loss != "auto" else ("kl" if classes else "mse")
        single = output.ndim == 1 or (labels is not None and output.shape == labels.shape)
        made[name] = Head(kind, None if single else axis or -1, weights.get(name, 1.0))
    return made


def _by_prediction(output: Tensor, axis: int | None) -> Tensor:
    """An output as (predictions, values)."""
    last = output.unsqueeze(-1) if axis is None else output.movedim(axis, -1)
    return last.reshape(-1, last.shape[-1])


def _divergence(outputs: Tensor, original: Tensor) -> Tensor:
    """Kullback-Leibler divergence of class probabilities; one column is a logit."""
    if outputs.shape[1] == 1:
        outputs, original = (
            torch.cat([torch.zeros_like(logit), logit], dim=1) for logit in (outputs, original)
        )
    return functional.kl_div(
        outputs.log_softmax(1), original.log_softmax(1), reduction="batchmean", log_target=True
    )


def _some(batches: Batches, most: int) -> list[Batch]:
    """At most ``most`` examples, an equal number from each batch that can be cut."""
    share = math.ceil(most / len(batches))
    few = batches[:: math.ceil(len(batches) / most)]
    return [batch.take(slice(share)) or batch for batch in few]
