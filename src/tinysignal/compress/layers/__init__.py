"""Families of factorable layers, a file for each.

::

    family.py       interface of a family, and the registry
    factored.py     factored layers that answer for the layers they replace
    linear.py       Linear, and Hugging Face's Conv1D
    convolution.py  Conv1d, Conv2d, and subclasses that pad their input
    recurrent.py    RNN, GRU, LSTM

A new family is a subclass of `Family` whose instance is passed to `register`.
"""

from tinysignal.compress.layers.convolution import CONVOLUTION
from tinysignal.compress.layers.family import (
    LOW_RANK,
    Family,
    family_of,
    largest_rank,
    register,
)
from tinysignal.compress.layers.linear import LINEAR, is_pair, merged
from tinysignal.compress.layers.recurrent import RECURRENT, Recurrent

__all__ = [
    "CONVOLUTION",
    "LINEAR",
    "LOW_RANK",
    "RECURRENT",
    "Family",
    "Recurrent",
    "family_of",
    "is_pair",
    "largest_rank",
    "merged",
    "register",
]
