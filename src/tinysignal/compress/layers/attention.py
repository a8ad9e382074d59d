"""Multi-head attention as separate projections, which are factored like other Linears.

The packed projection of queries, keys and values becomes three Linears, because its inputs may be
three different ones.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinysignal.compress.layers.family import Splitter, register_splitter

_PACKED = "qkv"


class Attention(nn.Module):
    """Multi-head attention with a Linear for every projection, called like the original module.

    It answers for the attributes of `torch.nn.MultiheadAttention`, such as ``in_proj_weight``.

    Parameters
    ----------
    like : nn.MultiheadAttention
        Its settings are taken over.
    projections : dict of str to nn.Module
        Of the queries, keys and values, and of the outputs: ``q_proj``, ``k_proj``, ``v_proj``,
        ``out_proj``.
    """

    def __init__(self, like: nn.MultiheadAttention, projections: dict[str, nn.Module]) -> None:
        super().__init__()
        for name in _SETTINGS:
            setattr(self, name, getattr(like, name))
        for name, module in projections.items():
            self.add_module(name, module)
        self.bias_k = self.bias_v = None
        self.train(like.training)

    def __getattr__(self, name: str) -> Any:
        found = _WEIGHT.fullmatch(name)
        same = self.__dict__.get("_qkv_same_embed_dim", True)
        if name == "in_proj_weight":
            return self._packed("weight") if same else None
        if name == "in_proj_bias":
            return self._packed("bias")
        if found is not None:
            return None if same else getattr(self, f"{found[1]}_proj").weight
        return super().__getattr__(name)

    def _packed(self, name: str) -> Tensor | None:
        parts = [getattr(self, f"{one}_proj") for one in _PACKED]
        values = [getattr(part, name) for part in parts]
        if all(value is None for value in values):
            return None
        like = next(value for value in values if value is not None)
        return torch.cat([like.new_zeros(len(like)) if v is None else v for v in values])

    def forward(  # noqa: PLR0917 - as torch's
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs and attention weights, as of `torch.nn.MultiheadAttention`."""
        if is_causal and attn_mask is None:
            raise RuntimeError("need attn_mask if is_causal is True")
        given: list[Tensor] = [query, key, value]
        batched = query.ndim == 3
        if not batched:
            given = [one[None] for one in given]
        elif not self.batch_first:
            given = [one.transpose(0, 1) for one in given]
        q, k, v = (
            getattr(self, f"{name}_proj")(one)
            .unflatten(-1, (self.num_heads, self.head_dim))
            .transpose(1, 2)  # (examples, heads, steps, values)
            for name, one in zip(_PACKED, given, strict=True)
        )
        mask = _mask(attn_mask, key_padding_mask, q, k)
        drop = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = (scores if mask is None else scores + mask).softmax(dim=-1)
            weights = functional.dropout(weights, drop)
            found = weights @ v
        else:
            found = functional.scaled_dot_product_attention(q, k, v, mask, drop)
        out: Tensor = self.out_proj(found.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(dim=1)
        if not batched:
            return out[0], None if weights is None else weights[0]
        return out if self.batch_first else out.transpose(0, 1), weights


_WEIGHT = re.compile(r"([qkv])_proj_weight")
_SETTINGS = (
    "embed_dim",
    "kdim",
    "vdim",
    "_qkv_same_embed_dim",
    "num_heads",
    "dropout",
    "batch_first",
    "head_dim",
    "add_zero_attn",
)


def _mask(attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """Sum of both masks, to be added to scores (examples, heads, queries, keys)."""
    examples, heads = q.shape[:2]
    total = None
    if attn_mask is not None:
        total = _added(attn_mask, q)
        if total.ndim == 3:
            each = total.shape[0] // heads
            total = total.view(each, heads, *total.shape[1:])
    if padding is not None:
        own = _added(padding, q).reshape(examples, 1, 1, k.shape[2])
        total = own if total is None else total + own
    return total


def _added(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -math.inf)


class _MultiheadAttention(Splitter):
    kinds: ClassVar[tuple[type[nn.Module], ...]] = (nn.MultiheadAttention,)

    def why_not(self, module: nn.MultiheadAttention) -> str | None:
        """See `Splitter.why_not`."""
        if module.bias_k is not None or module.add_zero_attn:
            return "attention with keys of its own (add_bias_kv, add_zero_attn) is left whole"
        return None

    def split(self, module: nn.MultiheadAttention) -> Attention:
        """See `Splitter.split`."""
        if module.in_proj_weight is not None:
            weights = module.in_proj_weight.chunk(3)
        else:
            weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        biases: Any = (None,) * 3
        if module.in_proj_bias is not None:
            biases = module.in_proj_bias.chunk(3)
        trained = [p.requires_grad for p in module.parameters(recurse=False)]
        made: dict[str, nn.Module] = {}
        for name, weight, bias in zip(_PACKED, weights, biases, strict=True):
            made[f"{name}_proj"] = _linear(weight, bias, trained=any(trained))
        out = module.out_proj
        made["out_proj"] = _linear(out.weight, out.bias, trained=out.weight.requires_grad)
        return Attention(module, made)


def _linear(weight: Tensor, bias: Tensor | None, *, trained: bool) -> nn.Linear:
    made = nn.Linear(
        weight.shape[1],
        weight.shape[0],
        bias=bias is not None,
        device=weight.device,
        dtype=weight.dtype,
    )
    made.weight.data.copy_(weight.detach())
    if bias is not None:
        made.bias.data.copy_(bias.detach())
    return made.requires_grad_(trained)


ATTENTION = register_splitter(_MultiheadAttention())
