"""Export of a trained network to ONNX for the light runtime."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import math
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from tinysignal.errors import ModelError
from tinysignal.files import atomic
from tinysignal.model import METADATA_KEY, load_classification_model, load_denoising_model
from tinysignal.nets import CnnNet, DenoisingNet, LstmNet, MaskingNet
from tinysignal.nets.base import RunningLevel, level_of
from tinysignal.nets.introspection import count_macs
from tinysignal.spec import ClassifierSpec, DenoiserSpec, ImageInput, SoundInput, Spec
from tinysignal.stft import StftSize

PARITY = 1e-4  # largest difference between ONNX and torch for magnitudes around 1


class _MaskForm(nn.Module):
    """Network with the inputs and outputs of a model file: spectrum, mask and states."""

    def __init__(self, net: MaskingNet) -> None:
        super().__init__()
        self.net = with_operators(net)

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        mask, next_state = self.net.complex_mask(spectrum, state)  # type: ignore[operator]
        return (mask, *next_state)


class _GainForm(nn.Module):
    """Network with the inputs and outputs of a model file: magnitude, gain and states."""

    def __init__(self, net: DenoisingNet) -> None:
        super().__init__()
        self.net = with_operators(net)

    def forward(self, magnitude: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        gain, next_state = self.net.gain(magnitude, state)  # type: ignore[operator]
        return (gain, *next_state)


def export_denoiser(
    net: DenoisingNet,
    size: StftSize,
    path: Path,
    *,
    arch: str,
    sample_rate_hz: int,
    name: str,
    trained_on: str,
    licence: str,
) -> DenoiserSpec:
    """Write a denoising network as ONNX with its spec, and compare the file to the network.

    Batch normalisation is folded into other layers.

    Parameters
    ----------
    net : DenoisingNet
    size : StftSize
    path : Path
        Model file.
    arch, sample_rate_hz, name, trained_on, licence
        See `DenoiserSpec`.

    Returns
    -------
    DenoiserSpec
        Spec in the file.

    Raises
    ------
    ModelError
        The outputs of file and network differ by more than 1e-4; no file is written.
    """
    net = folded_denoiser(net)
    spec = DenoiserSpec(
        name=name,
        arch=arch,
        sample_rate_hz=sample_rate_hz,
        window_samples=size.window_samples,
        hop_samples=size.hop_samples,
        lookahead_frames=net.lookahead_frames,
        receptive_field_frames=net.receptive_field_frames,
        parameters=sum(p.numel() for p in net.parameters()),
        macs_per_s=round(macs_per_frame(net, size) * sample_rate_hz / size.hop_samples),
        normalization=net.normalization,
        trained_on=trained_on,
        licence=licence,
    )
    with atomic(path) as temporary:
        _write_denoiser(net, spec, temporary)
        _check_parity(path, parity(net, temporary))
    return spec


def _write_denoiser(net: DenoisingNet, spec: DenoiserSpec, path: Path) -> None:
    shape: tuple[int, ...] = (2, 3, spec.bins)
    form: nn.Module = _GainForm(net)
    names = ("magnitude", "gain")
    if isinstance(net, MaskingNet):
        form, names, shape = _MaskForm(net), ("spectrum", "mask"), (*shape, 2)
    example = (torch.ones(shape), *net.initial_state(2))
    states = [f"state_{i}" for i in range(len(example) - 1)]
    channels, frames = torch.export.Dim("channels"), torch.export.Dim("frames")
    shapes: list[object] = [{0: channels, 1: frames}]
    if states:  # torch.export takes no entry for an empty *state
        shapes.append(tuple({0: channels} for _ in states))
    write_onnx(
        form,
        example,
        spec,
        path,
        inputs=[names[0], *states],
        outputs=[names[1], *(f"next_{name}" for name in states)],
        dynamic_shapes=tuple(shapes),
    )


def parity(net: DenoisingNet, path: Path) -> float:
    """Largest difference between the spectra of a file and of a network.

    The input is noise of power 1 per bin with silent frames. The file runs in blocks of 1, 7 and 32
    frames, the network on all frames at once.
    """
    network = load_denoising_model(path)
    rng = np.random.default_rng(0)
    normal = rng.normal(0, 1, (2, 40, network.spec.bins, 2)).astype(np.float32)
    normal[:, [0, 1, 20, 21, 22]] = 0
    spectrum = normal.view(np.complex64)[..., 0]
    state = network.initial_state(2)
    gains = []
    for block in np.split(spectrum, [1, 8], axis=1):
        gain, state = network.run(block, state)
        gains.append(gain)
    difference = np.concatenate(gains, axis=1) - _expected_gain(net.eval(), normal)
    return float(np.abs(difference * spectrum).max())


@torch.no_grad()
def _expected_gain(net: DenoisingNet, parts: NDArray[np.float32]) -> NDArray[Any]:
    """Gain of a network, real or complex, for spectra (channels, frames, freq, 2)."""
    given = torch.from_numpy(parts)
    state = net.initial_state(len(given))
    if isinstance(net, MaskingNet):
        mask: NDArray[Any] = torch.view_as_complex(net.complex_mask(given, state)[0]).numpy()
        return mask
    gain: NDArray[Any] = net.gain(torch.view_as_complex(given).abs(), state)[0].numpy()
    return gain


def export_classifier(
    net: nn.Module,
    path: Path,
    *,
    arch: str,
    classes: tuple[str, ...],
    input: ImageInput | SoundInput,
    name: str,
    trained_on: str,
    licence: str,
) -> ClassifierSpec:
    """Write a classifying network as ONNX with its spec, and compare the file to the network.

    Batch normalisation is folded into the linear layers.

    Parameters
    ----------
    net : nn.Module
        Network from float (examples, rows, columns) to logits (examples, classes).
    path : Path
        Model file.
    arch, classes, input, name, trained_on, licence
        See `ClassifierSpec`.

    Returns
    -------
    ClassifierSpec
        Spec in the file.

    Raises
    ------
    ModelError
        The logits of file and network differ by more than 1e-4 of the largest; no file is written.
    """
    net = folded_mlp(net)
    example = torch.rand(2, *input.shape, generator=torch.Generator().manual_seed(0))
    spec = ClassifierSpec(
        name=name,
        arch=arch,
        classes=classes,
        input=input,
        parameters=sum(p.numel() for p in net.parameters()),
        macs=count_macs(net, lambda: net(example)) // len(example),
        trained_on=trained_on,
        licence=licence,
    )
    with atomic(path) as temporary:
        write_onnx(
            net,
            (example,),
            spec,
            temporary,
            inputs=["examples"],
            outputs=["logits"],
            dynamic_shapes=({0: torch.export.Dim("examples")},),
        )
        with torch.no_grad():
            expected = net(example).numpy()
        logits = load_classification_model(temporary).run(example.numpy())
        difference = np.abs(logits - expected).max() / max(1.0, np.abs(expected).max())
        _check_parity(path, float(difference))
    return spec


def _check_parity(path: Path, difference: float) -> None:
    if not difference <= PARITY:
        raise ModelError(
            f"{path}: the exported model differs from the network by {difference:.2g}, "
            f"expected at most {PARITY:g}. The file was not written."
        )


def macs_per_frame(net: DenoisingNet, size: StftSize) -> float:
    """Multiply-accumulate operations of the layers for one frame of one channel."""
    frames = 8
    magnitude = torch.ones(1, frames, size.bins)
    return count_macs(net, lambda: net.gain(magnitude, net.initial_state(1))) / frames


def folded_mlp(net: nn.Module) -> nn.Module:
    """Copy on the CPU in evaluation mode, with batch normalisation folded into linear layers."""
    net = copy.deepcopy(net).cpu().float().eval()
    for parent in net.modules():
        if isinstance(parent, nn.Sequential):
            for place, (layer, norm) in enumerate(pairwise(parent)):
                if isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                    parent[place] = fuse_linear_bn_eval(layer, norm)
                    parent[place + 1] = nn.Identity()
    return net


def folded_denoiser(net: DenoisingNet) -> DenoisingNet:
    """Copy on the CPU in evaluation mode, with batch normalisation folded into other layers."""
    net = copy.deepcopy(net).cpu().float().eval()
    if isinstance(net, CnnNet):
        for layer in [*net.encoder, *net.middle, *net.decoder]:
            if isinstance(layer.norm, nn.BatchNorm2d):
                layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
                layer.norm = nn.Identity()
    if isinstance(net, LstmNet):
        _fold_into(net, "encode", "encode_norm")
    return net


def _fold_into(block: nn.Module, layer: str, norm: str) -> None:
    if isinstance(getattr(block, norm), nn.BatchNorm1d):
        setattr(block, layer, fuse_linear_bn_eval(getattr(block, layer), getattr(block, norm)))
        setattr(block, norm, nn.Identity())


def write_onnx(
    net: nn.Module,
    example: tuple[Tensor, ...],
    spec: Spec,
    path: Path,
    *,
    inputs: list[str],
    outputs: list[str],
    dynamic_shapes: tuple[object, ...],
) -> None:
    """Write a network as ONNX with its spec in the metadata.

    Parameters
    ----------
    net : nn.Module
    example : tuple of Tensor
        Example inputs. Free axes need sizes above 1, or the exporter makes them constants.
    spec : Spec
    path : Path
    inputs, outputs : list of str
        Names of the inputs and outputs in the file.
    dynamic_shapes : tuple
        Free axes, see `torch.onnx.export`.

    Raises
    ------
    ModelError
        Torch returned no ONNX program.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # deprecation warnings inside the exporter
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            net.eval(),
            example,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic_shapes,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise ModelError(f"{path}: torch.onnx.export returned no program for the network.")
    model = program.model_proto
    onnx.helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    _forget_source(model.graph)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _forget_source(graph: onnx.GraphProto) -> None:
    """Delete the source location of each operator, which takes more bytes than a small layer."""
    named = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for item in (graph, *graph.node, *named):
        del item.metadata_props[:]


def folded(net: nn.Module) -> nn.Module:
    """Copy of a network with batch normalisation folded into other layers, as in the export."""
    return folded_denoiser(net) if isinstance(net, DenoisingNet) else folded_mlp(net)


_OPSET = 14  # version of the LSTM and RNN operators


class OnnxLstm(nn.Module):
    """Replacement of a `torch.nn.LSTM` in the export; it becomes one LSTM operator.

    Parameters
    ----------
    lstm : nn.LSTM
        One layer, unidirectional, time first.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.hidden_size = lstm.hidden_size
        into, across, *biases = lstm.all_weights[0]
        # torch: input, forget, cell, output gates; ONNX: input, output, forget, cell.
        self.weight = nn.Parameter(_in_order(into)[None])
        self.recurrence = nn.Parameter(_in_order(across)[None])
        self.bias = nn.Parameter(torch.cat([_in_order(bias) for bias in biases])[None])

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs of `torch.nn.LSTM` for (frames, batch, inputs) and two of (1, batch, units)."""
        frames, batch = x.shape[:2]
        end = (1, batch, self.hidden_size)
        y, hidden, cell = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (x, self.weight, self.recurrence, self.bias, None, *state),
            {"hidden_size": self.hidden_size},
            dtypes=(x.dtype,) * 3,
            shapes=((frames, *end), end, end),
            version=_OPSET,
        )
        return y.squeeze(1), (hidden, cell)


class OnnxRunningLevel(nn.Module):
    """Replacement of a `RunningLevel` in the export: a sum that goes on frame by frame.

    Numbers do not depend on how many frames come at once, to the last bit. 8-bit LSTMs need that:
    where a number lies at a rounding boundary, the last bit decides between two steps of 1 %.

    Parameters
    ----------
    level : RunningLevel
    """

    def __init__(self, level: RunningLevel) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(2)[None])
        self.recurrence = nn.Parameter(math.exp(-level.rate) * torch.eye(2)[None])

    def forward(self, magnitude: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See `RunningLevel.forward`."""
        batch, frames, bins = magnitude.shape
        # A product, because a mean is added up in another order if there are few frames.
        power = magnitude.square() @ torch.full((bins, 1), 1 / bins)
        both = torch.cat([power, torch.ones_like(power)], dim=2).transpose(0, 1)
        sums, last = torch.onnx.ops.symbolic_multi_out(
            "RNN",
            (both, self.weight, self.recurrence, None, None, state[None]),
            {"hidden_size": 2, "activations": ["Relu"]},  # of sums that are never negative
            dtypes=(power.dtype,) * 2,
            shapes=((frames, 1, batch, 2), (1, batch, 2)),
            version=_OPSET,
        )
        return level_of(sums.squeeze(1).transpose(0, 1)), last.squeeze(0)


def with_operators(net: nn.Module) -> nn.Module:
    """Copy with operators of ONNX in place of layers over time; it can be exported, but not run."""
    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.LSTM):
                setattr(parent, name, OnnxLstm(child))
            elif isinstance(child, RunningLevel):
                setattr(parent, name, OnnxRunningLevel(child))
    return net


def _in_order(rows: Tensor) -> Tensor:
    into, forget, cell, output = rows.detach().chunk(4)
    return torch.cat([into, output, forget, cell])
