"""What is noted about a request while it is answered, for its log line and its metrics."""

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope

from api.access.caller import NOBODY, Caller
from api.access.refusals import Refused
from api.tracing import Trace
from backends.base import Target
from fusion.model import FusionModel

KEY = "snn_fusion.notes"
BEGAN = "snn_fusion.began"
"""Key in the scope: when the request's first byte was read, on the clock of `perf_counter`."""
SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


Use = Callable[[FusionModel, Sequence[Target]], None]
"""Is told the model and the targets of a run, and refuses what its caller may not."""


@dataclass(slots=True)
class Notes:
    """Notes on one request.

    Attributes:
        request_id: the caller's `X-Request-Id` if it is sane, else a new one.
        model: name of the model, once it is known.
        target: name of the target, once it is known.
        route: the path's template, once it is known to have one.
        open_inference: whether errors are told as the Open Inference Protocol does.
        caller: who asks.
        digest: the model's, once something is to be run.
        hardware: whether that is on a board.
        refusal: why the caller may not do it, if they may not.
        status: the reply's, once it is sent.
        started: its arrival, on the clock of `time.perf_counter`.
        trace: its trace, if traces are made.
    """

    request_id: str
    model: str | None = None
    target: str | None = None
    route: str | None = None
    open_inference: bool = False
    caller: Caller = NOBODY
    digest: str | None = None
    hardware: bool = False
    refusal: Refused | None = None
    status: int = 0
    started: float = 0.0
    trace: Trace | None = None

    def tell(self, model: str, target: str) -> None:
        """Note the model and target."""
        self.model = model
        self.target = target

    def use(self, model: FusionModel, targets: Sequence[Target]) -> None:
        """Note the model and the targets that it is to run on, if the caller may.

        Raises:
            Refused: if the caller may not run anything there, or not now.
        """
        self.tell(model.name, ",".join([target.name for target in targets]))
        self.digest = model.digest
        self._allow(targets)
        self.hardware = any(target.capabilities.hardware for target in targets)

    def pass_on(self, targets: Sequence[Target]) -> None:
        """Note targets that another deployment owns, if the caller may run something there.

        That deployment notes the rest.

        Raises:
            Refused: as `use`.
        """
        self.target = ",".join(target.name for target in targets)
        self._allow(targets)

    def _allow(self, targets: Sequence[Target]) -> None:
        try:
            self.caller.check_targets(targets)
        except Refused as refusal:
            self.refusal = refusal
            raise

    def charge(self, target: Target, synaptic_events: int, run_s: float) -> None:
        """Count against the caller's quotas what they had of a target."""
        self.caller.meter.charge(target.capabilities.hardware, synaptic_events, run_s)


def make_notes(scope: Scope) -> Notes:
    """Return fresh notes on a request, kept in its scope."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    text = given.decode("latin-1")
    notes = Notes(
        text if SANE_ID.fullmatch(text) else os.urandom(16).hex(),
        open_inference=f"{scope['path']}/".startswith("/v2/"),
        started=scope[BEGAN] if BEGAN in scope else time.perf_counter(),
    )
    scope[KEY] = notes
    return notes


def notes_of(request: Request) -> Notes:
    """Return the notes on a request."""
    notes = request.scope[KEY]
    assert isinstance(notes, Notes)
    return notes
