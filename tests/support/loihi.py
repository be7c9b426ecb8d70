"""Small networks of Loihi's integers."""

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from fusion.model import FusionModel, bare_model
from simulators.loihi_connections import Connection, Conv, Dense, Sparse
from simulators.loihi_fields import INTEGERS
from simulators.loihi_file import save
from simulators.loihi_network import (
    InputNode,
    LifPopulation,
    LoihiNetwork,
    OutputNode,
    PeriodicReset,
)


def population(name: str = "lif", shape: tuple[int, ...] = (1,), **given: Any) -> LifPopulation:
    """Return neurons that keep neither u nor v, unless parameters are given."""
    plain: dict[str, Any] = {
        "du": 4095, "dv": 4095, "vth": 10, "bias_mant": 0, "bias_exp": 0, "u": 0, "v": 0,
    }  # fmt: skip
    return LifPopulation(name=name, shape=shape, **plain | given)


def one_layer(weights: Any, **given: Any) -> LoihiNetwork:
    """Return `in` → a Dense connection of these weights → `lif` → `out`.

    Args:
        weights: [n_post, n_pre].
        given: parameters of the connection, and of the population in `lif`.
    """
    weights = np.asarray(weights)
    lif = given.pop("lif", {})
    n_post, n_pre = weights.shape
    return LoihiNetwork(
        dt_s=1e-3,
        inputs=(InputNode("in", (n_pre,)),),
        populations=(population("lif", (n_post,), **lif),),
        connections=(Dense(name="w", source="in", target="lif", weights=weights, **given),),
        outputs=(OutputNode(name="out", source="lif", shape=(n_post,)),),
    )


def every_kind() -> LoihiNetwork:
    """Return a network with every kind of connection, a loop, delays and a periodic reset."""
    eye = np.arange(4, dtype=np.int32)
    connections: tuple[Connection, ...] = (
        Dense(
            name="dense", source="in", target="a", weights=np.arange(-12, 12).reshape(4, 6) * 9,
            delays=np.arange(24).reshape(4, 6) % 5, weight_exp=2, num_weight_bits=6,
        ),
        Sparse(
            name="loop", source="a", target="a", pre=eye, post=eye[::-1], n_pre=4, n_post=4,
            weights=np.full(4, -7), sign_mode="inhibitory", num_message_bits=3,
        ),
        Conv(
            name="conv", source="a", target="b", weights=np.arange(12).reshape(3, 1, 2, 2) * 8,
            input_shape=(1, 2, 2), padding=(1, 1), stride=(2, 2),
        ),
    )  # fmt: skip
    return LoihiNetwork(
        dt_s=1e-3,
        inputs=(InputNode("in", (6,)),),
        populations=(
            population(
                "a",
                (4,),
                du=np.array([400, 0, 4095, 7]),
                dv=200,
                vth=np.array([3, 0, 9, 3]),
                reset=PeriodicReset(7, 2),
            ),
            population("b", (3, 2, 2), bias_mant=np.arange(12), bias_exp=3),
        ),
        connections=connections,
        outputs=(
            OutputNode(name="spikes", source="a", shape=(2, 2)),
            OutputNode(name="membrane", source="b", shape=(12,), reads="v", scale=0.5, offset=-1.0),
        ),
    )


def model_of(network: LoihiNetwork) -> FusionModel:
    """Return a network of integers as a model, with a graph of just its inputs and outputs."""
    nodes: dict[str, Any] = {
        **{one.name: nir.Input(np.array(one.shape)) for one in network.inputs},
        **{one.name: nir.Output(np.array(one.shape)) for one in network.outputs},
    }
    graph = nir.NIRGraph(nodes, [], type_check=False)
    return replace(bare_model(graph), content={INTEGERS: save(network)})


def within_registers(network: LoihiNetwork) -> LoihiNetwork:
    """Return a network with biases and kernels brought into the chip's registers."""
    populations = tuple(
        replace(
            one, bias_mant=np.clip(one.bias_mant, -4096, 4095), bias_exp=np.clip(one.bias_exp, 0, 7)
        )
        for one in network.populations
    )
    connections = tuple(
        replace(one, weights=np.clip(one.weights, -128, 127)) if isinstance(one, Conv) else one
        for one in network.connections
    )
    return replace(network, populations=populations, connections=connections)
