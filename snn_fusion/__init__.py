"""What a backend's author needs, under one name that stays.

Backends outside this repository import from here only; inside it nobody does.
"""

from backends.base import (
    Backend,
    Capabilities,
    Energy,
    Program,
    RunResult,
    Target,
    Violation,
)
from backends.checks import check_plan
from backends.errors import (
    BackendError,
    ModelRejected,
    RunFailed,
    RunTimeout,
    TargetUnavailable,
    UnknownTarget,
)
from backends.registry import read_target
from fusion.contract import CHOICES, PROFILES, ExecutionContract, make_contract
from fusion.errors import FusionError, InvalidContract, InvalidInput, InvalidModel
from fusion.model import FusionModel, bare_model
from simulators.plan import Plan, make_plan
from simulators.trace import (
    Counts,
    State,
    Trace,
    checked_inputs,
    checked_record,
    checked_state,
)

__all__ = [
    "CHOICES",
    "PROFILES",
    "Backend",
    "BackendError",
    "Capabilities",
    "Counts",
    "Energy",
    "ExecutionContract",
    "FusionError",
    "FusionModel",
    "InvalidContract",
    "InvalidInput",
    "InvalidModel",
    "ModelRejected",
    "Plan",
    "Program",
    "RunFailed",
    "RunResult",
    "RunTimeout",
    "State",
    "Target",
    "TargetUnavailable",
    "Trace",
    "UnknownTarget",
    "Violation",
    "bare_model",
    "check_plan",
    "checked_inputs",
    "checked_record",
    "checked_state",
    "make_contract",
    "make_plan",
    "read_target",
]
