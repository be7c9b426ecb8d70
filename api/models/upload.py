"""From the body of an upload to a stored model."""

from api.errors import BodyTooLarge, MalformedBody, WrongContentType
from api.framing import Body
from api.models.entry import Entry
from api.multipart import MULTIPART, parts_of
from api.service import Service
from api.settings import Settings
from backends.checks import refuse_oversize
from fusion.containers import GRAPH
from fusion.errors import InvalidContract, InvalidInput
from fusion.model import FusionModel, parse_model

OVERHEAD_BYTES = 2**20
"""So much more than a model's file may the body of an upload hold: a manifest, and framing."""
PARTS = ("model", "manifest")
ANY_TARGET = "any target"


def store_upload(service: Service, body: Body, content_type: str) -> tuple[Entry, bool]:
    """Store the model in a body; return it, and whether it is new; for a thread.

    Raises:
        FusionError, ModelRejected: if it cannot be stored, or no target could ever run it.
    """
    if body.encoding:
        raise WrongContentType("Content-Encoding", f"is {body.encoding[:80]!r}", "none")
    data, manifest = _files(body, content_type)
    settings = service.settings
    if len(data) > settings.max_model_bytes:
        raise BodyTooLarge("body", "is too large", f"at most {settings.max_model_bytes} bytes")
    if not data:
        raise MalformedBody("body", "is empty", "a zip, or a .nir file")
    model = parse_model(data, settings.model_limits, manifest)
    _refuse_what_none_can_run(model, settings)
    return service.models.add(model)


def _files(body: Body, content_type: str) -> tuple[bytes, bytes | None]:
    """Return the model's file, and a manifest if there is one beside it."""
    if body.content_type != MULTIPART:
        return body.content, None
    parts = parts_of(body.content, content_type)
    for name in parts:
        if name not in PARTS:
            raise InvalidInput(name[:80], "is no part of an upload", ", ".join(PARTS))
    if PARTS[0] not in parts:
        raise InvalidInput(PARTS[0], "is missing", f"a zip, or a {GRAPH}")
    return parts[PARTS[0]], parts.get(PARTS[1])


def _refuse_what_none_can_run(model: FusionModel, settings: Settings) -> None:
    if model.manifest is None:  # under which contract is only known when it is run
        return
    try:
        contract = model.contract()
    except InvalidContract:  # a request may choose another
        return
    refuse_oversize(model, contract, ANY_TARGET, settings.size_limits)
