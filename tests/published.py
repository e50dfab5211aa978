"""The OpenAPI document as it is published, and what an answer must be by it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parent.parent
BESIDE = {"Problem", "EvaluationFailure"}  # these may hold more than they declare


@cache
def document() -> dict[str, Any]:
    read: dict[str, Any] = yaml.load((ROOT / "docs" / "openapi.yaml").read_bytes(), yaml.CSafeLoader)
    for name, schema in read["components"]["schemas"].items():
        if name not in BESIDE and "properties" in schema:
            schema.setdefault("additionalProperties", False)  # so that a test notices what isn't declared
    return read


def operation(method: str, address: str) -> dict[str, Any]:
    """What the document says of a request. An address that is spelled out goes before one with a place in it."""
    path = address.partition("?")[0]
    for template in sorted(document()["paths"], key=lambda each: each.count("{")):
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            found: dict[str, Any] = document()["paths"][template][method.lower()]
            return found
    raise AssertionError(f"{address} isn't published")


def check(method: str, address: str, status: int, body: Any) -> None:
    """Raises unless this answer to this request is one that the document promises."""
    responses = operation(method, address)["responses"]
    said = responses.get(str(status)) or (responses["default"] if status >= 400 else None)
    assert said is not None, f"{method} {address} isn't published to answer {status}"
    for kind in said.get("content", {}).values():
        schema = {**kind["schema"], "components": document()["components"]}
        Draft202012Validator(schema).validate(body)
