"""What one node does in a step, built from a NIR node: the stateless nodes and the delay."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from fusion.errors import InvalidModel
from simulators.connectivity import Connection, Window, convolution, convolution_synapses
from simulators.neurons import Neuron

Array = NDArray[np.float64]
Shape = tuple[int, ...]
_Number = TypeVar("_Number", bound=np.generic)


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


@dataclass(frozen=True, slots=True)
class Made:
    """What a node becomes, told before it takes memory.

    Attributes:
        shape: shape of its output.
        build: makes the operation; an `InvalidModel` it raises names a parameter.
        synapses: weights that are not 0.
        delay_steps: steps of its longest delay.
    """

    shape: Shape
    build: Callable[[], Operation]
    synapses: int = 0
    delay_steps: int = 0


_LARGEST = 2**31 - 1
"""Largest number in a window or shape, and longest delay in steps, that is reckoned with."""
_MOST_TAPS = 2**20
_MOST_SHOWN = 8


def _numbers(name: str, value: Any, ndim: int | None = None) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise InvalidModel(name, f"must hold numbers, got {array.dtype}")
    if ndim is not None and (array.ndim != ndim or not array.size):
        raise InvalidModel(name, f"has shape {list(array.shape)}", f"{ndim} dimensions")
    array = array.astype(np.float64, copy=False)
    if not np.all(np.isfinite(array)):
        raise InvalidModel(name, f"holds {array[~np.isfinite(array)][0]}", "finite numbers")
    return array


def _fitting(name: str, value: Any, shape: Shape) -> Array:
    """Return a scalar or an array of the shape."""
    array = _numbers(name, value)
    if array.size != 1 and array.shape != shape:
        raise InvalidModel(
            name, f"has shape {list(array.shape)}", f"a scalar or shape {list(shape)}"
        )
    return array


def _spread(array: NDArray[_Number], shape: Shape) -> NDArray[_Number]:
    """Return what fits a shape for each of its elements, flat."""
    return np.broadcast_to(array.reshape(-1), (math.prod(shape),)).copy()


def _passing(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    declared = node.input_type.get("input")
    own = shape if declared is None else tuple(int(extent) for extent in np.atleast_1d(declared))
    if math.prod(own) != math.prod(shape):
        raise InvalidModel("shape", f"is {list(own)}, but it is fed {list(shape)}")
    return Made(own, Passing)


def _flatten(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    rank = len(shape)
    start, end = (
        dim + rank * (dim < 0)
        for dim in (_whole("start_dim", node.start_dim), _whole("end_dim", node.end_dim))
    )
    if not 0 <= start < rank or not start <= end < rank:
        # NIR files of some exporters count a batch dimension that the shape does not have.
        return Made((math.prod(shape),), Passing)
    whole = math.prod(shape[start : end + 1])
    return Made((*shape[:start], whole, *shape[end + 1 :]), Passing)


def _linear(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    weight = _numbers("weight", node.weight, ndim=2)
    if weight.shape[1] != math.prod(shape):
        raise InvalidModel(
            "weight",
            f"has shape {list(weight.shape)}, but it is fed {list(shape)}",
            f"[{weight.shape[0]}, {math.prod(shape)}]",
        )
    output_shape = (weight.shape[0],)
    given = getattr(node, "bias", None)
    bias = None if given is None else _fitting("bias", given, output_shape)
    return Made(
        output_shape,
        lambda: Weights(
            Connection.from_matrix(weight), None if bias is None else _spread(bias, output_shape)
        ),
        synapses=int(np.count_nonzero(weight)),
    )


def _scale(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    scale = _fitting("scale", node.scale, shape)
    return Made(shape, lambda: Scaling(_spread(scale, shape)))


def _threshold(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    threshold = _fitting("threshold", node.threshold, shape)
    return Made(shape, lambda: Thresholding(_spread(threshold, shape)))


def _delay(node: Any, shape: Shape, contract: ExecutionContract) -> Made:
    dt = contract.dt_in_file
    with np.errstate(over="ignore"):
        steps = _fitting("delay", node.delay, shape) / dt
    whole = np.rint(steps)
    if np.any(whole < 0):
        raise InvalidModel("delay", f"{whole.min() * dt} is negative", "0 or more")
    if np.any(whole > _LARGEST):
        raise InvalidModel("delay", f"is {whole.max():.6g} steps", f"at most {_LARGEST}")
    off = np.abs(steps - whole) > 1e-6
    if np.any(off) and contract.delay_rounding == "refuse":
        raise InvalidModel(
            "delay",
            f"{steps[off][0]:.6g} steps of {contract.dt_s} s is not a whole number",
            f"{whole[off][0] * dt:.9g} {contract.time_unit}, or delay_rounding round",
        )
    delay = whole.astype(np.int64)
    return Made(
        shape, lambda: Delaying(_spread(delay, shape)), delay_steps=int(delay.max(initial=0))
    )


def _shown(array: NDArray[Any]) -> str:
    if array.size > _MOST_SHOWN:
        return f"{array.dtype} of shape {list(array.shape)}"
    return ascii(array.tolist())[:80]


def _whole(name: str, value: Any) -> int:
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.size != 1:
        raise InvalidModel(name, f"is {_shown(array)}", "one whole number")
    return int(array.reshape(()))


def _pairs(name: str, value: Any, rank: int, least: int) -> Shape:
    array = np.atleast_1d(np.asarray(value))
    if array.dtype.kind not in "iu" or array.size not in (1, rank):
        raise InvalidModel(name, f"is {_shown(array)}", f"{rank} whole numbers")
    if array.min() < least or array.max() > _LARGEST:
        raise InvalidModel(name, f"is {_shown(array)}", f"whole numbers from {least} to {_LARGEST}")
    return tuple(int(extent) for extent in np.broadcast_to(array.reshape(-1), rank))


def _convolution(node: Any, shape: Shape, _: ExecutionContract) -> Made:
    rank = 1 if type(node).__name__ == "Conv1d" else 2
    weight = _numbers("weight", node.weight, ndim=rank + 2)
    groups = _whole("groups", node.groups)
    if groups < 1 or weight.shape[0] % groups:
        raise InvalidModel("groups", f"{groups} does not divide {weight.shape[0]} channels")
    if len(shape) != rank + 1 or shape[0] != weight.shape[1] * groups:
        raise InvalidModel(
            "weight",
            f"has shape {list(weight.shape)}, but it is fed {list(shape)}",
            f"an input of [{weight.shape[1] * groups}, {'spatial extents'}]",
        )
    window = _conv_window(node, weight.shape[2:], rank)
    output_shape = _moved(window, shape, weight.shape[0], weight.shape[2:], "weight")
    bias = _fitting("bias", 0 if node.bias is None else node.bias, weight.shape[:1])

    def build() -> Operation:
        connection = convolution(weight, shape, output_shape, window, groups)
        if not np.any(bias):
            return Weights(connection, None)
        per_channel = _spread(bias, weight.shape[:1])
        return Weights(connection, np.repeat(per_channel, math.prod(output_shape[1:])))

    taken = np.count_nonzero(weight, axis=(0, 1))
    return Made(output_shape, build, convolution_synapses(taken, shape, output_shape, window))


def _conv_window(node: Any, kernel: Shape, rank: int) -> Window:
    stride = _pairs("stride", node.stride, rank, 1)
    dilation = _pairs("dilation", node.dilation, rank, 1)
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if not isinstance(padding, str):
        pad = _pairs("padding", padding, rank, 0)
        return Window(stride, pad, pad, dilation)
    if padding not in ("same", "valid"):
        problem = f"is {ascii(padding)[:80]}"
        raise InvalidModel("padding", problem, "'same', 'valid' or whole numbers")
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
    kernel = _pairs("kernel_size", node.kernel_size, 2, 1)
    if math.prod(kernel) > _MOST_TAPS:
        problem = f"{list(kernel)} are {math.prod(kernel)} elements"
        raise InvalidModel("kernel_size", problem, f"at most {_MOST_TAPS}")
    pad = _pairs("padding", node.padding, 2, 0)
    window = Window(_pairs("stride", node.stride, 2, 1), pad, pad, (1, 1))
    output_shape = _moved(window, shape, shape[0], kernel, "kernel_size")
    share = 1 / math.prod(kernel) if type(node).__name__ == "AvgPool2d" else 1.0

    def build() -> Operation:
        weight = np.full((shape[0], 1, *kernel), share)
        return Weights(convolution(weight, shape, output_shape, window, groups=shape[0]), None)

    taken = np.full(kernel, shape[0])
    return Made(output_shape, build, convolution_synapses(taken, shape, output_shape, window))


def _moved(window: Window, shape: Shape, channels: int, kernel: Shape, name: str) -> Shape:
    """Return the shape that a window leaves of [channels, *spatial]."""
    spatial = window.output_shape(shape[1:], kernel)
    if min(spatial) < 1:
        raise InvalidModel(name, f"a kernel of {list(kernel)} does not fit into {list(shape[1:])}")
    return channels, *spatial


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
"""NIR type → function(node, input shape, contract) → what the node becomes."""

STATELESS = frozenset(MAKERS) - {"Input", "Threshold", "Delay"}

WEIGHTED = frozenset({"Linear", "Affine", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"})
"""NIR types that hold weights, and so cost `feedforward_delay_steps`."""
