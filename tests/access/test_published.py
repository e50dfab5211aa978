"""Every address that phones and backends find at the edge stands in the OpenAPI document, and no other does."""

from __future__ import annotations

from calls.rules.messages import REQUESTS
from tests.access.table import EDGE, WEB, lines
from tests.published import document


def test_addresses__of_the_edge__are_all_published() -> None:
    offered = {
        (method, address.replace("{op}", op))
        for method, address in lines(EDGE)
        if address.startswith(("/v1/", "/ofrep/")) and method not in ("ANY", "OPTIONS")
        for op in (REQUESTS.keys() - {"prepare", "invite"} if "{op}" in address else [""])
    }
    of_the_web = {f"/{address.replace('<uuid:', '{').replace('>', '}')}" for _, address in lines(WEB)}

    published = {
        (method.upper(), path)
        for path, item in document()["paths"].items()
        for method in item
        if path.startswith(("/v1/", "/ofrep/")) and path not in of_the_web
    }

    assert published == offered
