"""A network of Lava processes, from a tree of plain values and arrays."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import networkx
import numpy as np
from numpy.typing import NDArray

from backends.lava.processes import AHEAD, Feed, ShownLIF, ShownLIFReset  # first: see there

from lava.proc.dense.process import Dense, DelayDense  # isort: skip
from lava.proc.sparse.process import DelaySparse, Sparse  # isort: skip
from lava.utils.weightutils import SignMode  # isort: skip
from scipy.sparse import csr_matrix  # isort: skip

Tree = Mapping[str, Any]
Array = NDArray[Any]

SHARED_MEMORY = "/dev/shm"


class LavaNetwork:
    """Processes, connected, and the variables that hold the network's state.

    Args:
        parts: `inputs`, [{name, size}]; `populations`, [{name, size, du, dv, vth, bias_mant,
            bias_exp, reset: {interval, offset} or None}]; `connections`, [{kind, name, source,
            target, …}] with the arguments of Lava's process of that kind, and `line`, what
            is under way before the first step, [steps from now, neurons], or nothing.
    """

    def __init__(self, parts: Tree) -> None:
        used = {entry["source"] for entry in parts["connections"]}
        self.feeds = {
            entry["name"]: Feed(entry["size"]) for entry in parts["inputs"] if entry["name"] in used
        }
        self.populations = {entry["name"]: _population(entry) for entry in parts["populations"]}
        self.state: dict[str, Any] = {}
        for name, population in self.populations.items():
            self.state |= {f"{name}.i": population.u, f"{name}.v": population.v}
        out_ports = {
            name: process.s_out for name, process in {**self.feeds, **self.populations}.items()
        }
        self.tie: Any = None
        """A feed that only holds the parts together, to be given zeros; or None."""
        self._arriving: dict[str, _Connection] = {}
        lines: dict[str, Array] = {}
        for entry in parts["connections"]:
            made = CONNECTIONS[entry["kind"]](entry)
            made.into(out_ports[entry["source"]], self.populations[entry["target"]].a_in)
            self._arriving[f"{entry['name']}.line"] = made
            begun = entry.get("line")
            lines[f"{entry['name']}.line"] = (
                np.zeros(made.arriving.shape) if begun is None else made.laid_out(begun)
            )
        self._connections = list(self._arriving.values())
        self.state |= {key: made.arriving for key, made in self._arriving.items()}
        self._tie(parts["connections"])
        self._initial = lines | {
            f"{entry['name']}.{key}": np.broadcast_to(entry.get(register, 0), (entry["size"],))
            for entry in parts["populations"]
            for register, key in (("u", "i"), ("v", "v"))
        }
        self.period = math.lcm(
            *(entry["reset"]["interval"] for entry in parts["populations"] if entry.get("reset"))
        )
        """Steps after which all periodic resets are in phase again."""

    def fresh(self) -> dict[str, Array]:
        """Return the state before the first step, laid out as Lava holds it."""
        return dict(self._initial)

    def laid_out(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """Return a state as Lava holds it: u and v [neurons], what arrives as in `given_back`."""
        return {
            key: self._arriving[key].laid_out(values) if key in self._arriving else values
            for key, values in state.items()
            if key in self.state
        }

    def given_back(self, held: Mapping[str, Array]) -> dict[str, Array]:
        """Return the state with what arrives as [steps from now, neurons]."""
        return {
            key: self._arriving[key].given_back(values) if key in self._arriving else values
            for key, values in held.items()
        }

    def _tie(self, connections: Sequence[Tree]) -> None:
        """Join what is not connected, which Lava would not run, by synapses of weight zero."""
        graph = networkx.Graph((entry["source"], entry["target"]) for entry in connections)
        graph.add_nodes_from(self.populations)
        parts = [
            next(name for name in self.populations if name in part)
            for part in networkx.connected_components(graph)
        ]
        if len(parts) == 1:
            return
        self.tie = Feed(1)
        for name in parts:
            population = self.populations[name]
            nothing = Dense(weights=np.zeros((population.s_out.size, 1), int))
            made = _Connection(nothing, nothing.a_buff)
            made.into(self.tie.s_out, population.a_in)
            self._connections.append(made)

    @property
    def inputs(self) -> dict[str, Any]:
        """Every feed by name; the tie is named by the empty text."""
        return self.feeds if self.tie is None else {**self.feeds, "": self.tie}

    def shared_memory_bytes(self) -> int:
        """Return what Lava's channels between these processes take of `SHARED_MEMORY`, at most."""
        elements: int = sum(2 * feed.s_out.size for feed in self.inputs.values())
        elements += sum(5 * population.s_out.size for population in self.populations.values())
        elements += sum(made.elements for made in self._connections)
        management = 4 * (len(self.inputs) + len(self.populations) + len(self._connections) + 2)
        return AHEAD * 8 * (elements + management)


class _Connection:
    """One of Lava's connection processes; `arriving` is the variable of what is under way."""

    def __init__(self, process: Any, arriving: Any) -> None:
        self.process = process
        self.arriving = arriving
        self.elements = process.s_in.size + process.a_out.size

    def into(self, source: Any, target: Any) -> None:
        """Connect it between two ports."""
        source.connect(self.process.s_in)
        self.process.a_out.connect(target)

    def laid_out(self, arriving: Array) -> Array:
        """Return what arrives, [steps from now, neurons], as Lava holds it."""
        return arriving.T.reshape(self.arriving.shape)

    def given_back(self, held: Array) -> Array:
        """Return what arrives, [steps from now, neurons], from what Lava holds."""
        return held.reshape(self.process.a_out.size, -1).T


class _Convolution(_Connection):
    """Lava's Conv, whose axes are rows, columns, channels, between neurons in NIR's order."""

    def into(self, source: Any, target: Any) -> None:
        rows, columns, channels = self.process.s_in.shape
        image = source.reshape((channels, rows, columns)).transpose([1, 2, 0])
        image.connect(self.process.s_in)
        self.process.a_out.transpose([2, 0, 1]).reshape(target.shape).connect(target)

    def laid_out(self, arriving: Array) -> Array:
        rows, columns, channels = self.arriving.shape
        return arriving.reshape(channels, rows, columns).transpose(1, 2, 0)

    def given_back(self, held: Array) -> Array:
        return held.transpose(2, 0, 1).reshape(1, -1)


def _population(entry: Tree) -> Any:
    shape = (entry["size"],)
    values = {key: entry[key] for key in ("du", "dv", "vth", "bias_mant", "bias_exp")}
    reset = entry.get("reset")
    if reset is None:
        return ShownLIF(shape=shape, **values)
    phase = {"reset_interval": reset["interval"], "reset_offset": reset["offset"]}
    return ShownLIFReset(shape=shape, **values, **phase)


def _format(entry: Tree) -> dict[str, Any]:
    chosen = {key: entry[key] for key in ("weight_exp", "num_weight_bits") if key in entry}
    if entry.get("sign_mode") is not None:
        chosen["sign_mode"] = SignMode[entry["sign_mode"].upper()]
    return {"num_message_bits": entry["num_message_bits"], **chosen}


def _dense(entry: Tree) -> _Connection:
    if entry.get("delays") is None:
        process = Dense(weights=entry["weights"], **_format(entry))
    else:
        delays = entry["delays"].astype(int)
        process = DelayDense(weights=entry["weights"], delays=delays, **_format(entry))
    return _Connection(process, process.a_buff)


def _sparse(entry: Tree) -> _Connection:
    shape = (entry["n_post"], entry["n_pre"])

    def matrix(values: Array) -> csr_matrix:
        return csr_matrix((values, (entry["post"], entry["pre"])), shape)

    weights = matrix(entry["weights"])
    if entry.get("delays") is None:
        process = Sparse(weights=weights, **_format(entry))
    else:
        delays = matrix(entry["delays"].astype(int))
        process = DelaySparse(weights=weights, delays=delays, **_format(entry))
    return _Connection(process, process.a_buff)


def _conv(entry: Tree) -> _Connection:
    from lava.proc.conv.process import Conv  # noqa: PLC0415 (it imports all of scipy.signal)

    channels, *spatial = entry["input_shape"]
    # Lava flips the kernel, NIR does not; Lava's axes are out, rows, columns, in.
    weights = np.ascontiguousarray(entry["weights"].transpose(0, 2, 3, 1)[:, ::-1, ::-1])
    process = Conv(
        weight=weights,
        input_shape=(*spatial, channels),
        num_message_bits=entry["num_message_bits"],
        groups=entry["groups"],
        **{key: tuple(entry[key]) for key in ("padding", "stride", "dilation")},
    )
    return _Convolution(process, process.a_buf)


CONNECTIONS: Mapping[str, Callable[[Tree], _Connection]] = MappingProxyType(
    {"dense": _dense, "sparse": _sparse, "conv": _conv}
)
"""Kind of connection → what makes it."""
