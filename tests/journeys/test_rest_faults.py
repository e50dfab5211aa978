"""The operators' REST, asked twice, asked too much, and asked nonsense."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from controlplane.accounts.models import ApiKey
from controlplane.actions.retention import forget_old
from controlplane.audit.models import AuditEntry
from controlplane.rest.models import StoredAnswer
from rollout.models import Audience, Feature, Ruleset, Window
from tests import operators
from tests.operators import Api

NEW = {"key": "video-calls", "name": "Video calls"}
WHY = {"reason": "a test"}


def with_key(api: Api, key: str, path: str, body: Any, method: str = "POST") -> Any:
    return api.ask(method, path, body, **{"Idempotency-Key": key})


@pytest.mark.django_db
def test_request__sent_again_with_its_key__has_its_effect_once_and_the_same_answer() -> None:
    api = Api()
    first = with_key(api, "k-1", "features", NEW)
    before = (AuditEntry.objects.count(), Ruleset.objects.count())
    again = with_key(api, "k-1", "features", NEW)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert (again["ETag"], again["Content-Type"]) == (first["ETag"], first["Content-Type"])
    assert (again["Idempotency-Replayed"], "Idempotency-Replayed" in first) == ("true", False)
    assert (AuditEntry.objects.count(), Ruleset.objects.count()) == before


@pytest.mark.django_db
def test_change__of_what_decides__bears_the_number_of_a_ruleset_that_holds_it() -> None:
    api = Api()

    made = with_key(api, "k-1", "features", NEW)
    launched = api.post("features/video-calls/launch", WHY)
    again = with_key(api, "k-1", "features", NEW)

    numbers = [int(answer["Rollcall-Ruleset"]) for answer in (made, launched, again)]
    assert numbers[0] < numbers[1] == numbers[2] == Ruleset.objects.latest("version").version
    assert b'"video-calls"' in bytes(Ruleset.objects.get(version=numbers[0]).body)
    assert "Rollcall-Ruleset" not in api.post("features/nothing/launch", WHY)
    assert "Rollcall-Ruleset" not in api.get("features")


@pytest.mark.django_db
@pytest.mark.parametrize("other", ["body", "path", "method", "caller"])
def test_idempotency_key__used_for_something_else__is_refused_unless_by_somebody_else(other: str) -> None:
    api = Api()
    with_key(api, "k-1", "features", NEW)

    asked = {
        "body": lambda: with_key(api, "k-1", "features", {**NEW, "name": "Other"}),
        "path": lambda: with_key(api, "k-1", "audiences", NEW),
        "method": lambda: with_key(api, "k-1", "features/video-calls", {"name": "Other"}, "PATCH"),
        "caller": lambda: with_key(Api(), "k-1", "features", {"key": "other", "name": "Other"}),
    }[other]()

    if other == "caller":
        assert asked.status_code == 201
    else:
        assert (asked.status_code, asked.told["code"]) == (422, "idempotency_key_reused")
        assert list(Feature.objects.values_list("name", flat=True)) == ["Video calls"]


@pytest.mark.django_db
def test_method_that_changes_nothing__with_a_key_of_another_request__is_refused_as_a_method() -> None:
    api = Api()
    with_key(api, "k-1", "features", NEW)

    traced = with_key(api, "k-1", "features", NEW, "TRACE")

    assert (traced.status_code, traced.told["code"]) == (405, "method_not_allowed")


@pytest.mark.django_db
def test_created_thing__answers_with_its_address__also_when_asked_again() -> None:
    api = Api()
    operators.area()
    bodies: dict[str, Any] = {
        "features": NEW,
        "audiences": {"key": "germans", "name": "Germans", "any_of": []},
        "areas": {"key": "FR", "name": "France", "countries": ["FR"], "capacity_calls": 10},
        "windows": {"feature": "video-calls", "name": "First"},
        "waves": {"feature": "video-calls", "name": "First", "position": 1, "share_ppm": 1},
        "keys": {"name": "backend", "scopes": ["read"]},
    }

    for path, body in bodies.items():
        made = with_key(api, f"k-{path}", path, body)
        again = with_key(api, f"k-{path}", path, body)

        assert made.status_code == 201, made.told
        assert made["Location"] == again["Location"]
        found = api.get(made["Location"].removeprefix("/api/"))
        assert found.told.items() <= made.told.items()


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["on", "launch", "unkill", "access"])
def test_verb_that_widens__without_a_reason__is_refused(verb: str) -> None:
    api = Api()
    with_key(api, "k-1", "features", NEW)
    before = AuditEntry.objects.count()

    for body in ({}, {"reason": ""}, {"reason": " "}, {"reason": None}):
        refused = api.post(
            f"features/video-calls/{verb}", {**body, **({"access": "rules"} if verb == "access" else {})}
        )

        assert (refused.status_code, refused.told["path"]) == (400, "reason")
        assert refused.told["detail"] == "reason: Say why: the reason stands in the audit."
    assert AuditEntry.objects.count() == before


@pytest.mark.django_db
def test_refusal__with_a_key__is_not_kept_so_that_it_can_be_tried_anew() -> None:
    api = Api()
    refused = with_key(api, "k-1", "features/video-calls/on", WHY)
    api.post("features", NEW)
    later = with_key(api, "k-1", "features/video-calls/on", WHY)

    assert (refused.status_code, later.status_code) == (404, 200)
    assert later.told["switch"] == "on"


@pytest.mark.django_db
def test_stored_answer__with_a_secret_in_it__can_not_be_read_from_the_table() -> None:
    api = Api()
    made = with_key(api, "k-1", "keys", {"name": "backend", "scopes": ["read"]})
    again = with_key(api, "k-1", "keys", {"name": "backend", "scopes": ["read"]})

    assert again.told["key"] == made.told["key"]
    assert ApiKey.objects.filter(name="backend").count() == 1
    row = StoredAnswer.objects.get()
    assert made.told["key"].encode() not in bytes(row.sealed)
    assert "key" not in row.headers


@pytest.mark.django_db
def test_revoked_key__sends_again__is_refused_and_told_nothing() -> None:
    api = Api()
    with_key(api, "k-1", "features", NEW)
    ApiKey.objects.update(revoked_at=timezone.now())

    assert with_key(api, "k-1", "features", NEW).told["code"] == "key_refused"


@pytest.mark.django_db
def test_stored_answer__a_day_later__is_forgotten() -> None:
    api = Api()
    with_key(api, "k-1", "features/video-calls/on", WHY) if with_key(api, "k-0", "features", NEW) else None
    StoredAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))

    anew = with_key(api, "k-0", "features", {**NEW, "key": "other"})

    assert anew.status_code == 201
    assert forget_old(timezone.now()) == {"StoredAnswer": 1}
    assert StoredAnswer.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x" * 201, "ü", "a\tb"])
def test_idempotency_key__of_no_use__is_refused(key: str) -> None:
    answer = with_key(Api(), key, "features", NEW)

    assert (answer.status_code, answer.told["path"]) == (400, "Idempotency-Key")
    assert not Feature.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_requests__with_one_key_at_once__make_one_thing() -> None:
    api = Api()
    answers: list[Any] = []
    start = threading.Barrier(8)

    def ask() -> None:
        mine = Api.__new__(Api)
        mine.__dict__.update(api.__dict__)
        start.wait()
        answers.append(with_key(mine, "k-1", "features", NEW))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer for answer in answers) == 7
    assert Feature.objects.count() == AuditEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_close__with_a_key__is_certain_before_it_is_answered_and_answered_alike_again() -> None:
    api = Api()
    operators.feature()
    id = api.post("windows", {"feature": "voice-calls", "name": "W", "open": True}).told["id"]

    first = with_key(api, "k-1", f"windows/{id}/close", {})
    again = with_key(api, "k-1", f"windows/{id}/close", {})

    assert (first.status_code, first.told["state"]) == (200, "closed")
    assert again.content == first.content
    assert Window.objects.get().state == "closed"


def audience(*clauses: str) -> bytes:
    return b'{"key":"a","any_of":[[' + ",".join(clauses).encode() + b"]]}"


CLAUSE = '{"trait":"age","operator":"NUM_GT","value":%s}'
FEATURE = b'{"key":"f","name":"F","kind":"object","default_variant":"on","variants":{"on":%s,"off":{}}}'

NONSENSE: list[tuple[str, str, bytes, int, str]] = [
    ("1e300", "audiences", audience(CLAUSE % "1e300"), 400, "any_of[0][0].value"),
    ("NaN", "audiences", audience(CLAUSE % "NaN"), 400, "any_of[0][0].value"),
    ("1e309", "audiences", audience(CLAUSE % "1e309"), 400, "any_of[0][0].value"),
    ("null", "audiences", audience(CLAUSE % "null"), 422, "any_of[0][0].values[0]"),
    ("missing", "audiences", audience('{"trait":"age"}'), 422, "any_of[0][0].operator"),
    ("surrogate", "audiences", audience(CLAUSE % '"\\ud800"'), 400, "any_of[0][0].value"),
    ("NUL", "audiences", audience(CLAUSE % '"\\u0000"'), 400, "any_of[0][0].value"),
    ("depth 1000", "audiences", b'{"key":"a","any_of":' + b"[" * 1000 + b"]" * 1000 + b"}", 400, "any_of" + "[0]" * 63),
    ("depth 100,000", "audiences", b'{"key":"a","any_of":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, ""),
    (
        "groups 12 deep",
        "audiences",
        b'{"key":"a","any_of":[[' + b'{"any_of":[[' * 12 + b'{"audience":"x"}' + b"]]}" * 12 + b"]]}",
        422,
        "any_of" + "[0][0].any_of" * 9,
    ),
    ("a million entries", "audiences", b'{"key":"a","any_of":[' + b"1," * 900_000 + b"1]}", 400, "any_of"),
    ("ten megabytes", "audiences", b'{"key":"a","any_of":"' + b"x" * 10_000_000 + b'"}', 413, ""),
    ("too many values", "audiences", audience('{"trait":"a","operator":"IN","values":[' + "1," * 6000 + "1]}"), 422,
     "any_of[0][0].values"),
    ("regular-expression bomb", "audiences",
     audience('{"trait":"a","operator":"REGEX","value":"((((a{100}){100}){100}){100})"}'), 422, "any_of[0][0].values"),
    ("long pattern", "audiences", audience('{"trait":"a","operator":"REGEX","value":"%s"}' % ("(a+)+" * 200)), 422,
     "any_of[0][0].values[0]"),
    ("many patterns", "audiences",
     b'{"key":"a","any_of":['
     + b",".join([b"[" + b",".join([b'{"trait":"a","operator":"REGEX","value":"(x+x+)+y"}'] * 50) + b"]"] * 50) + b"]}",
     422, "any_of[2][0].operator"),
    ("deep variant", "features", FEATURE % (b'{"a":' * 20 + b"1" + b"}" * 20), 422, "variants.on" + ".a" * 17),
    ("wide variant", "features", FEATURE % (b'{"a":[' + b"1," * 500 + b"1]}"), 422, "variants.on"),
    ("great number", "features", FEATURE % b'{"a":9007199254740993}', 400, "variants.on.a"),
    ("cycle", "features", b'{"key":"f","name":"F","prerequisites":["f"]}', 422, "features.f.prerequisites"),
    ("unknown need", "features", b'{"key":"f","name":"F","prerequisites":["g"]}', 422, "features.f.prerequisites"),
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "body", "status", "place"), [row[1:] for row in NONSENSE], ids=[row[0] for row in NONSENSE]
)
def test_nonsense__sent_to_be_published__is_refused_with_its_place_in_time(
    path: str, body: bytes, status: int, place: str
) -> None:
    api = Api()
    began = time.process_time()

    answer = api.ask("POST", path, body)

    assert time.process_time() - began < 1.0
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert answer.told.get("path", "") == place, answer.told
    assert not Audience.objects.exists()
    assert not Feature.objects.exists()
    assert not Ruleset.objects.exists()


@pytest.mark.django_db
def test_migrations__of_the_models__are_complete() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_feature__that_takes_too_long_to_compile__can_not_be_switched_on() -> None:
    patterns = [{"trait": "a", "operator": "REGEX", "value": rf"(\pL|\pN|\pS){{20}}{i}"} for i in range(50)]
    rules = [{"any_of": [patterns]}, {"any_of": [patterns]}]

    api = Api()
    api.post("features", {"key": "f", "name": "F", "access": "rules", "rules": rules})
    before = Ruleset.objects.count()

    answer = api.post("features/f/on", WHY)

    assert (answer.status_code, answer.told["code"]) == (422, "ruleset_invalid")
    assert "ms are allowed" in answer.told["detail"]
    assert Feature.objects.get().switch == "off"
    assert Ruleset.objects.count() == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "fault"),
    [
        ("GET", "features?after=", None, {}, "after"),
        ("GET", "audit?limit=", None, {}, "limit"),
        ("GET", "grants?feature=", None, {}, "feature"),
        ("GET", "subscribers?after=", None, {}, "after"),
        ("GET", "windows?feature=", None, {}, "feature"),
        ("POST", "features/voice-calls/kill", {}, {"If-Match": ""}, "If-Match"),
        ("POST", "features/voice-calls/kill", {"end_calls": 0}, {}, "end_calls"),
        ("POST", "features/voice-calls/off", {"reason": 5}, {}, "reason"),
        ("PATCH", "features/voice-calls", {"tags": ["a", 5]}, {}, "tags[1]"),
        ("PATCH", "features/voice-calls", {"visible_to_phones": "true"}, {}, "visible_to_phones"),
        ("POST", "windows", {"feature": "voice-calls", "name": "A", "quota": "5"}, {}, "quota"),
    ],
)
def test_value__empty_or_of_another_type__is_refused_with_its_place(
    method: str, path: str, body: Any, headers: dict[str, str], fault: str
) -> None:
    api = Api()
    operators.feature()

    answer = api.ask(method, path, body, **headers)

    assert (answer.status_code, answer.told["path"]) == (400, fault)
    assert Feature.objects.get().revision == 2
