"""The OpenAPI document's part about keys: how they are sent, and what every operation needs."""

from typing import Any

from api.access.scopes import RouteScopes, Scope
from api.errors import PROBLEM_JSON
from api.framing import JSON

SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer KEY`. A service without keys asks for none.",
    },
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key, where `Authorization` is taken by something before.",
    },
}
STATUSES = {
    "401": "No key was sent, or one that is not good.",
    "403": "The key lacks the scope, or is not for the target.",
    "429": "A limit of the key is reached (with Retry-After).",
}


def secure(document: dict[str, Any], scopes: RouteScopes) -> None:
    """Add to every operation of a document the scope that it needs, and the refusals."""
    document.setdefault("components", {})["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        reply = "ErrorReply" if f"{path}/".startswith("/v2/") else "ProblemReply"
        for method, operation in operations.items():
            scope = scopes.find(method.upper(), path)
            if scope is None or scope is Scope.NONE:
                operation["security"] = []
                continue
            operation["security"] = [{scheme: [str(scope)]} for scheme in SCHEMES]
            for status, text in STATUSES.items():
                own = operation["responses"].get(status, {}).get("description", "")
                told = f"{own}. {text}" if own else text
                operation["responses"][status] = _refusal(told, reply, status)


def _refusal(text: str, reply: str, status: str) -> dict[str, Any]:
    kind = PROBLEM_JSON if reply == "ProblemReply" else JSON
    schema = {"$ref": f"#/components/schemas/{reply}"}
    refusal: dict[str, Any] = {"description": text, "content": {kind: {"schema": schema}}}
    name, meaning = (
        ("Retry-After", "Seconds to wait.") if status == "429"
        else ("WWW-Authenticate", "What is wanted (RFC 6750).")
    )  # fmt: skip
    refusal["headers"] = {name: {"schema": {"type": "string"}, "description": meaning}}
    return refusal
