"""A neuron's step as code for Brian2."""

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from simulators.neurons import Neuron

Values = dict[str, NDArray[np.floating]]


def neuron_code(neuron: Neuron, contract: ExecutionContract, x: str) -> tuple[str, Values]:
    """Return a neuron's update as Brian2 code and the values of its variables.

    It says `v += a` rather than `v = v + a`, whose terms Brian2 would put into another order.

    Args:
        neuron: coefficients in the contract's float type.
        contract: says in which form the equations are computed.
        x: expression of the input.
    """
    increment = contract.arithmetic_form == "increment"
    values: Values = {"v": neuron.initial_v, "gain": neuron.gain}
    lines = []
    drive = f"({x})"
    if (synapse := neuron.synapse) is not None:
        values |= {"current": np.zeros_like(neuron.gain)}
        if increment:
            values |= {"syn_rate": synapse.rate, "w_in": synapse.w_in}
            lines.append(f"current += syn_rate*(w_in*{drive} - current)")
        else:
            values |= {"syn_keep": synapse.keep, "syn_drive": synapse.drive}
            lines.append(f"current = syn_keep*current + syn_drive*{drive}")
        drive = "current"
    if (leak := neuron.leak) is None:
        lines.append(f"v += gain*{drive}")
    elif increment:
        values |= {"mem_rate": leak.rate, "v_leak": leak.v_leak}
        lines.append(f"v += mem_rate*((v_leak - v) + gain*{drive})")
    else:
        values |= {"mem_keep": leak.keep, "mem_drive": leak.drive, "mem_rest": leak.rest}
        lines.append(f"v = mem_keep*v + mem_drive*{drive} + mem_rest")
    if (spiking := neuron.spiking) is None:
        lines.append("activity = v")
    else:
        values |= {"theta": spiking.v_threshold, "v_reset": spiking.v_reset}
        lines.append("activity = 0")
    return "\n".join(lines), values
