"""What is noted about a request while it is answered, for its log line and its metrics."""

import os
import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope

KEY = "snn_fusion.notes"
SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(slots=True)
class Notes:
    """Notes on one request.

    Attributes:
        request_id: the caller's `X-Request-Id` if it is sane, else a new one.
        model: name of the model, once it is known.
        target: name of the target, once it is known.
        route: the path's template, once it is known to have one.
        open_inference: whether errors are told as the Open Inference Protocol does.
    """

    request_id: str
    model: str | None = None
    target: str | None = None
    route: str | None = None
    open_inference: bool = False

    def tell(self, model: str, target: str) -> None:
        """Note the model and target."""
        self.model = model
        self.target = target


def make_notes(scope: Scope) -> Notes:
    """Return fresh notes on a request, kept in its scope."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    text = given.decode("latin-1")
    notes = Notes(
        text if SANE_ID.fullmatch(text) else os.urandom(16).hex(),
        open_inference=f"{scope['path']}/".startswith("/v2/"),
    )
    scope[KEY] = notes
    return notes


def notes_of(request: Request) -> Notes:
    """Return the notes on a request."""
    notes = request.scope[KEY]
    assert isinstance(notes, Notes)
    return notes
