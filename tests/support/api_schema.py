"""The part of JSON Schema that the OpenAPI document uses, checked against replies."""

from collections.abc import Mapping
from typing import Any

KINDS: Mapping[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def misfits(
    value: Any, schema: Mapping[str, Any], document: Mapping[str, Any], at: str
) -> list[str]:
    """Return where a value does not fit a schema of the document, nothing if it fits."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return misfits(value, document["components"]["schemas"][name], document, at)
    if "anyOf" in schema:
        tried = [misfits(value, one, document, at) for one in schema["anyOf"]]
        return [] if any(not found for found in tried) else min(tried, key=len)
    if "type" in schema and not _is(value, schema["type"]):
        return [f"{at}: {value!r} is no {schema['type']}"]
    if isinstance(value, dict):
        return _misfits_in_object(value, schema, document, at)
    return _misfits_in_list(value if isinstance(value, list) else [], schema, document, at)


def _misfits_in_list(
    value: list[Any], schema: Mapping[str, Any], document: Mapping[str, Any], at: str
) -> list[str]:
    first = schema.get("prefixItems", [])
    if len(value) < len(first) or (schema.get("items") is False and len(value) > len(first)):
        return [f"{at}: {value!r} has not {len(first)} entries"]
    rest = [schema.get("items", {})] * (len(value) - len(first))
    found = [
        misfits(item, one, document, f"{at}[]")
        for item, one in zip(value, [*first, *rest], strict=True)
    ]
    return [one for part in found for one in part]


def _is(value: Any, kind: str) -> bool:
    if kind in ("number", "integer"):
        fits = int if kind == "integer" else (int, float)
        return isinstance(value, fits) and not isinstance(value, bool)
    return isinstance(value, KINDS[kind])


def _misfits_in_object(
    value: dict[str, Any], schema: Mapping[str, Any], document: Mapping[str, Any], at: str
) -> list[str]:
    known = schema.get("properties", {})
    rest = schema.get("additionalProperties", {} if not known else None)
    found = [f"{at}.{name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, item in value.items():
        if name in known:
            found += misfits(item, known[name], document, f"{at}.{name}")
        elif isinstance(rest, dict):
            found += misfits(item, rest, document, f"{at}.{name}")
        elif rest is not True:
            found.append(f"{at}.{name} is not documented")
    return found
