"""The published document as a whole: where it is served, what belongs together, and an example of each body."""

from __future__ import annotations

import inspect
from typing import Any

from controlplane.api.examples import BODIES, PLACES
from controlplane.rest.bodies import Body
from controlplane.rest.schema import METHODS
from rollout.api.shapes import COMPONENTS

# By the first segment of an address: its tag. In this order, with what the tag is about.
TAGS = {
    "features": "What may be rolled out, its switch and its access",
    "audiences": "Reusable sets of people, by their traits",
    "definitions": "Features and audiences as one document: export, import, previews, and the history of rulesets",
    "waves": "Taking people in, step by step",
    "windows": "Times in which those who have a feature bring in others by calling them",
    "areas": "Where capacity is measured, and how fast each takes people in",
    "grants": "Who holds a feature, and how they came by it",
    "subscribers": "People with a number, their devices, and why they have a feature or not",
    "calls": "Records of calls, without content and without numbers",
    "keys": "API keys of backends and scripts",
    "audit": "Who decided what",
    "system": "How everything stands",
    "phones": "What phones ask for on the phones' port",
}
SEGMENTS = {
    **{name: name for name in TAGS},
    **dict.fromkeys(("export", "import", "preview", "rulesets"), "definitions"),
    **dict.fromkeys(("deployment", "overview", "outbox"), "system"),
    "explain": "subscribers",
}
PHONES_PORT = {
    "url": "{phones}",
    "description": "ROLLCALL_PUBLIC_URL: the one address that phones know",
    "variables": {"phones": {"default": "http://127.0.0.1:8080"}},
}


def finished(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """drf-spectacular calls this on the document; a segment that has no tag yet raises KeyError."""
    result["servers"] = [{"url": "/", "description": "The console's port, where this document stands"}]
    result["tags"] = [{"name": name, "description": words} for name, words in TAGS.items()]
    schemas = result["components"]["schemas"]
    schemas.update(COMPONENTS)
    for schema in schemas.values():
        if schema.get("description") == inspect.getdoc(Body):
            del schema["description"]  # inherited: it says nothing of this body
    for path, item in result["paths"].items():
        _, root, segment, *_ = path.split("/")
        for method in METHODS & set(item):
            operation = item[method]
            operation["tags"] = ["phones" if root == "v1" else SEGMENTS[segment]]
            if root == "v1":
                operation["servers"] = [PHONES_PORT]
            _show(path, operation)
    return result


def _show(path: str, operation: dict[str, Any]) -> None:
    """Examples of what is sent."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["example"] = PLACES.get(f"{path.split('/')[2]} {parameter['name']}", PLACES[parameter["name"]])
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is not None:
        content["example"] = BODIES[operation["operationId"]]
