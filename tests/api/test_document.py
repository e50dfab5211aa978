"""The published document: what it says of bodies is so, and its examples can be sent."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from controlplane.accounts.models import Device
from controlplane.api import edge_document, examples
from controlplane.api.document import TAGS
from controlplane.base.env import ROOT
from controlplane.rest.subscribers import find_subscriber
from rollout.rules.definition.audience import parse_any_of
from rollout.rules.definition.feature import FeatureKind, parse_rule, parse_variants
from rollout.rules.definition.reading import Invalid
from rollout.rules.definition.requirements import parse_requirements
from tests import builders
from tests.operators import Api

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
SENT = {name: found for name, found in OPERATIONS.items() if "requestBody" in found[2]}
PHONES = {name for name, (_, path, _) in OPERATIONS.items() if path.startswith("/v1/")}


def schema_of(inner: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**inner, "components": DOCUMENT["components"]})


def test_document__says_where_it_is_served_and_what_belongs_together() -> None:
    used = {tag for _, _, operation in OPERATIONS.values() for tag in operation["tags"]}

    assert DOCUMENT["servers"]
    assert all("servers" in operation for _, path, operation in OPERATIONS.values() if not path.startswith("/api/"))
    assert used == {tag["name"] for tag in DOCUMENT["tags"]} == {*TAGS, *edge_document.TAGS}
    most = max(sum(tag in operation["tags"] for _, _, operation in OPERATIONS.values()) for tag in TAGS)
    assert most < len(OPERATIONS) / 3
    assert {*examples.BODIES, *examples.EDGE_BODIES} == set(SENT), "an example of every body, and of nothing else"


@pytest.mark.parametrize("name", SENT)
def test_example__of_a_body__is_as_its_schema_says(name: str) -> None:
    content = SENT[name][2]["requestBody"]["content"]["application/json"]

    assert list(schema_of(content["schema"]).iter_errors(content["example"])) == []


@pytest.mark.django_db
def test_examples__sent_one_after_the_other__are_all_taken() -> None:
    api = Api()
    builders.device(builders.subscriber(), id=examples.DEVICE)
    ids: dict[str, Any] = {}

    for name in (each for each in examples.BODIES if each not in PHONES):
        method, path, _ = OPERATIONS[name]
        noun = path.split("/")[2]
        if name == "revoke_device":
            Device.objects.update(subscriber=find_subscriber(examples.ALICE))
        address = re.sub(r"\{(\w+)\}", lambda place, noun=noun: place_in(noun, place[1], ids), path)
        answer = api.ask(method.upper(), address.removeprefix("/api/"), examples.BODIES[name])
        assert answer.status_code < 300, (name, answer.told)
        if name == "grant_people":
            ids[noun] = answer.told["grants"][0]
        elif answer.status_code == 201:
            ids[noun] = answer.told.get("id")


def place_in(noun: str, name: str, ids: dict[str, Any]) -> str:
    """What stands in an address: the id that the last answer about such a thing gave, or the document's example."""
    if name == "id":
        return str(ids[noun])
    return str(examples.PLACES.get(f"{noun} {name}", examples.PLACES[name]))


CLAUSE = {"trait": "country", "operator": "IN", "values": ["DE"]}


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("AnyOf", []),
        ("AnyOf", [[CLAUSE], [{**CLAUSE, "inverted": True, "case_insensitive": True}]]),
        ("AnyOf", [[{"trait": "age", "operator": "NUM_GT", "value": 7}]]),
        ("AnyOf", [[{"audience": "germans", "inverted": True}, {"any_of": [[CLAUSE]]}]]),
        ("AnyOf", [[]]),
        ("AnyOf", [[{"trait": "country"}]]),
        ("AnyOf", [[{**CLAUSE, "operator": "LIKE"}]]),
        ("AnyOf", [[{**CLAUSE, "valuse": []}]]),
        ("AnyOf", [[{**CLAUSE, "inverted": "yes"}]]),
        ("AnyOf", [[{"audience": "No Key"}]]),
        ("AnyOf", [CLAUSE]),
        ("AnyOf", "everybody"),
        ("Rule", {}),
        ("Rule", {"name": "half", "any_of": [[CLAUSE]], "share_ppm": 500_000, "variant": "on"}),
        ("Rule", {"variants": [{"variant": "on", "weight_ppm": 1_000_000}]}),
        ("Rule", {"share_ppm": 1_000_001}),
        ("Rule", {"share": 5}),
        ("Rule", {"variants": [{"variant": "on"}]}),
        ("Rule", {"variants": []}),
        ("Requirements", {}),
        ("Requirements", examples.MODERN),
        ("Requirements", {"others": "maybe"}),
        ("Requirements", {"platforms": {"android": {"apps": "1.0"}}}),
        ("Requirements", {"device_classes": ["fast"]}),
        ("Variants", {"on": True, "off": False}),
        ("Variants", {"On": True}),
        ("Variants", []),
    ],
)
def test_schema__of_what_the_rules_read__takes_and_refuses_the_same(kind: str, raw: Any) -> None:
    read = {
        "AnyOf": lambda: parse_any_of(raw, "any_of"),
        "Rule": lambda: parse_rule(raw, "rule", {"on": True, "off": False}, "on"),
        "Requirements": lambda: parse_requirements(raw, "requirements"),
        "Variants": lambda: parse_variants(raw, "variants", FeatureKind.BOOLEAN),
    }[kind]
    try:
        read()
        taken = True
    except Invalid:
        taken = False

    assert schema_of({"$ref": f"#/components/schemas/{kind}"}).is_valid(raw) == taken
