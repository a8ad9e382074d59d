"""Families of factorable layers, a file for each.

::

    family.py       interface of a family, and the registry
    factored.py     factored layers that answer for the layers they replace
    linear.py       Linear, and Hugging Face's Conv1D
    embedding.py    Embedding, and a head with the same weight
    convolution.py  Conv1d, Conv2d, and subclasses that pad their input
    grouped.py      the same in groups
    transposed.py   ConvTranspose1d, ConvTranspose2d
    recurrent.py    RNN, GRU, LSTM
    attention.py    MultiheadAttention

A new family is a subclass of `Family` whose instance is passed to `register`. A module with several
matrices is split into layers by a `Splitter`, see `register_splitter`.
"""

from tinysignal.compress.layers.attention import ATTENTION
from tinysignal.compress.layers.convolution import CONVOLUTION
from tinysignal.compress.layers.embedding import EMBEDDING, TIED, Lookup, TiedLinear
from tinysignal.compress.layers.family import (
    LOW_RANK,
    Family,
    Splitter,
    family_of,
    largest_rank,
    register,
    register_splitter,
    splitter_of,
)
from tinysignal.compress.layers.grouped import GROUPED_CONVOLUTION
from tinysignal.compress.layers.linear import LINEAR, is_pair, merged
from tinysignal.compress.layers.recurrent import RECURRENT, Recurrent
from tinysignal.compress.layers.transposed import TRANSPOSED_CONVOLUTION

__all__ = [
    "ATTENTION",
    "CONVOLUTION",
    "EMBEDDING",
    "GROUPED_CONVOLUTION",
    "LINEAR",
    "LOW_RANK",
    "RECURRENT",
    "TIED",
    "TRANSPOSED_CONVOLUTION",
    "Family",
    "Lookup",
    "Recurrent",
    "Splitter",
    "TiedLinear",
    "family_of",
    "is_pair",
    "largest_rank",
    "merged",
    "register",
    "register_splitter",
    "splitter_of",
]
