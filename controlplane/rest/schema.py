"""The OpenAPI document: what is said once for every operation."""

from __future__ import annotations

from typing import Any

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details. `code` is for programs, `detail` says what to do.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "path": {"type": "string", "description": "Where in the request the fault is"},
        "retry_after": {"type": "integer", "description": "Seconds"},
    },
    "required": ["type", "title", "status", "code", "detail"],
    "additionalProperties": True,
}
METHODS = {"get", "post", "put", "patch", "delete"}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Sent again within 24 hours, the request has its effect once and gets the first one's answer",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of an earlier answer: refused with 412 when the thing was changed since",
    "schema": {"type": "string", "pattern": '^("[0-9a-f]{1,16}"|\\*)$'},
}
LOCATION = {"description": "Where the new thing stands", "schema": {"type": "string", "format": "uri-reference"}}
CREATING = ("/api/features", "/api/audiences", "/api/areas", "/api/windows", "/api/waves", "/api/keys")
TAGGED = ("/api/features/{key}", "/api/audiences/{key}", "/api/areas/{key}")


def with_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Every operation may answer with problem details; drf-spectacular calls this on the finished document."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    refusal = {
        "description": "Refused; nothing was changed",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path, item in result["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                operation["responses"]["default"] = refusal
                operation.setdefault("parameters", []).extend(_headers(path, method))
                for parameter in operation["parameters"]:
                    if parameter["in"] == "query" and parameter["name"] != "reason":
                        _never_empty(parameter["schema"])
                if not operation["parameters"]:
                    del operation["parameters"]
                if made := operation["responses"].get("201") if path in CREATING else None:
                    made["headers"] = {"Location": LOCATION}
                words = operation.get("description", "")
                operation.setdefault("summary", words.partition("\n")[0].partition(". ")[0].rstrip("."))
    return result


def _never_empty(schema: dict[str, Any]) -> None:
    if schema.get("type") == "string" and "format" not in schema:
        schema.setdefault("minLength", 1)


def _headers(path: str, method: str) -> list[dict[str, Any]]:
    """The headers that an operation knows beside its own parameters."""
    if method == "get" or not path.startswith("/api/"):
        return []
    return [IDEMPOTENCY_KEY, IF_MATCH] if path.startswith(TAGGED) else [IDEMPOTENCY_KEY]
