"""What one node does in a step, built from a NIR node: the stateless nodes and the delay."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from fusion.errors import InvalidModel
from simulators.connectivity import Connection, Window, convolution
from simulators.neurons import Neuron

Array = NDArray[np.float64]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Passing:
    """Hands its input on: Input, Output, Flatten."""


@dataclass(frozen=True, slots=True)
class Weights:
    """W·x + bias: Linear, Affine, convolutions, pooling; `bias` is [n_post] or None."""

    connection: Connection
    bias: Array | None


@dataclass(frozen=True, slots=True)
class Scaling:
    """scale ⊙ x, with scale [neurons]."""

    scale: Array


@dataclass(frozen=True, slots=True)
class Thresholding:
    """1 where x > threshold (or ≥, as the contract says), else 0; threshold [neurons]."""

    threshold: Array


@dataclass(frozen=True, slots=True)
class Delaying:
    """x delayed by `steps` int64 [neurons]."""

    steps: NDArray[np.int64]


Operation = Passing | Weights | Scaling | Thresholding | Delaying | Neuron


def _numbers(name: str, value: Any, ndim: int | None = None) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise InvalidModel(name, f"must hold numbers, got {array.dtype}")
    if ndim is not None and array.ndim != ndim:
        raise InvalidModel(name, f"has shape {list(array.shape)}", f"{ndim} dimensions")
    array = array.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise InvalidModel(name, f"holds {array[~np.isfinite(array)][0]}", "finite numbers")
    return array


def _full(name: str, value: Any, shape: Shape) -> Array:
    array = _numbers(name, value)
    if array.size != 1 and array.shape != shape:
        raise InvalidModel(
            name, f"has shape {list(array.shape)}", f"a scalar or shape {list(shape)}"
        )
    return np.broadcast_to(array.reshape(-1), (math.prod(shape),)).copy()


Made = tuple[Operation, Shape]


def _passing(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    declared = node.input_type.get("input")
    own = shape if declared is None else tuple(int(extent) for extent in np.atleast_1d(declared))
    if math.prod(own) != math.prod(shape):
        raise InvalidModel("shape", f"is {list(own)}, but it is fed {list(shape)}")
    return Passing(), own


def _flatten(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    rank = len(shape)
    start, end = (int(d) + rank * (int(d) < 0) for d in (node.start_dim, node.end_dim))
    if not 0 <= start < rank or not start <= end < rank:
        # NIR files of some exporters count a batch dimension that the shape does not have.
        return Passing(), (math.prod(shape),)
    return Passing(), (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


def _linear(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    weight = _numbers("weight", node.weight, ndim=2)
    if weight.shape[1] != math.prod(shape):
        raise InvalidModel(
            "weight",
            f"has shape {list(weight.shape)}, but it is fed {list(shape)}",
            f"[{weight.shape[0]}, {math.prod(shape)}]",
        )
    output_shape = (weight.shape[0],)
    bias = getattr(node, "bias", None)
    made = None if bias is None else _full("bias", bias, output_shape)
    return Weights(Connection.from_matrix(weight), made), output_shape


def _scale(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    return Scaling(_full("scale", node.scale, shape)), shape


def _threshold(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    return Thresholding(_full("threshold", node.threshold, shape)), shape


def _delay(node: Any, shape: Shape, contract: ExecutionContract) -> Made:
    dt = contract.dt_in_file
    steps = _full("delay", node.delay, shape) / dt
    whole = np.rint(steps)
    off = np.abs(steps - whole) > 1e-6
    if np.any(off) and contract.delay_rounding == "refuse":
        raise InvalidModel(
            "delay",
            f"{steps[off][0]:.6g} steps of {contract.dt_s} s is not a whole number",
            f"{whole[off][0] * dt:.9g} {contract.time_unit}, or delay_rounding round",
        )
    if np.any(whole < 0):
        raise InvalidModel("delay", f"{whole.min() * dt} is negative", "0 or more")
    return Delaying(whole.astype(np.int64)), shape


def _pairs(name: str, value: Any, rank: int) -> Shape:
    array = np.atleast_1d(np.asarray(value))
    if array.dtype.kind not in "iu" or array.size not in (1, rank):
        raise InvalidModel(name, f"is {value}", f"{rank} whole numbers")
    return tuple(int(extent) for extent in np.broadcast_to(array, rank))


def _convolution(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    rank = 1 if type(node).__name__ == "Conv1d" else 2
    weight = _numbers("weight", node.weight, ndim=rank + 2)
    groups = int(node.groups)
    if groups < 1 or weight.shape[0] % groups:
        raise InvalidModel("groups", f"{groups} does not divide {weight.shape[0]} channels")
    if len(shape) != rank + 1 or shape[0] != weight.shape[1] * groups:
        raise InvalidModel(
            "weight",
            f"has shape {list(weight.shape)}, but it is fed {list(shape)}",
            f"an input of [{weight.shape[1] * groups}, {'spatial extents'}]",
        )
    window = _conv_window(node, weight.shape[2:], rank)
    connection, output_shape = convolution(weight, shape, window, groups)
    bias = getattr(node, "bias", None)
    if bias is None or not np.any(bias):
        return Weights(connection, None), output_shape
    per_channel = _full("bias", bias, weight.shape[:1])
    return Weights(connection, np.repeat(per_channel, math.prod(output_shape[1:]))), output_shape


def _conv_window(node: Any, kernel: Shape, rank: int) -> Window:
    stride = _pairs("stride", node.stride, rank)
    dilation = _pairs("dilation", node.dilation, rank)
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if not isinstance(padding, str):
        pad = _pairs("padding", padding, rank)
        return Window(stride, pad, pad, dilation)
    if padding not in ("same", "valid"):
        raise InvalidModel("padding", f"is {padding!r}", "'same', 'valid' or whole numbers")
    if padding == "valid":
        return Window(stride, (0,) * rank, (0,) * rank, dilation)
    if max(stride) > 1:
        raise InvalidModel("padding", "'same' needs stride 1", "whole numbers of padding")
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    before = tuple(extent // 2 for extent in total)
    after = tuple(t - b for t, b in zip(total, before, strict=True))
    return Window(stride, before, after, dilation)


def _pooling(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    if len(shape) != 3:
        raise InvalidModel("shape", f"pooling is fed {list(shape)}", "[channels, height, width]")
    kernel = _pairs("kernel_size", node.kernel_size, 2)
    pad = _pairs("padding", node.padding, 2)
    window = Window(_pairs("stride", node.stride, 2), pad, pad, (1, 1))
    share = 1 / math.prod(kernel) if type(node).__name__ == "AvgPool2d" else 1.0
    weight = np.full((shape[0], 1, *kernel), share)
    connection, output_shape = convolution(weight, shape, window, groups=shape[0])
    return Weights(connection, None), output_shape


MAKERS: MappingProxyType[str, Callable[[Any, Shape, ExecutionContract], Made]] = MappingProxyType(
    {
        "Input": _passing,
        "Output": _passing,
        "Flatten": _flatten,
        "Linear": _linear,
        "Affine": _linear,
        "Scale": _scale,
        "Threshold": _threshold,
        "Delay": _delay,
        "Conv1d": _convolution,
        "Conv2d": _convolution,
        "SumPool2d": _pooling,
        "AvgPool2d": _pooling,
    }
)
"""NIR type → function(node, input shape, contract) → operation and output shape."""

STATELESS = frozenset(MAKERS) - {"Input", "Threshold", "Delay"}

WEIGHTED = frozenset({"Linear", "Affine", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"})
"""NIR types that hold weights, and so cost `feedforward_delay_steps`."""
