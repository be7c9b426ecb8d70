"""A child that runs networks in Lava and, when a request says so, does what Lava does at worst.

Runs in Lava's environment in place of `backends.lava.child`.
"""

import os
import sys
import time

from backends.lava import child, runtime
from backends.lava.processes import ShownLifFixed

_MARK = os.environ["DRILL_MARK"]
"""A file; what it says befalls the process models at their next step."""


def open_program(parts):
    if parts.pop("blind", False):
        runtime.check_room = lambda needed: None
    if "DRILL_SCALAR" in os.environ:
        for population in parts["populations"]:
            population["vth"] = float(population["vth"][0])
    original = ShownLifFixed.run_spk
    ShownLifFixed.run_spk = lambda model: (_befall(), original(model))[1]
    program = child.open_program(parts)

    def run(request):
        fault = request.pop("fault", None)
        if fault == "variable":
            next(iter(_populations(program).values())).vth.get()
        if fault == "leave":
            sys.exit("leaving without stop()")
        return program(request)

    return run


def _populations(program):
    return program.__self__._network.populations


def _befall():
    try:
        with open(_MARK) as mark:  # noqa: PTH123
            said = mark.read()
    except FileNotFoundError:
        return
    if said == "raise":
        raise RuntimeError("an exception in a process model")
    if said == "hang":
        time.sleep(3600)
