"""Every address of the web, asked by everybody: who is let in, and that no address is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import URLResolver, get_resolver
from django.utils import timezone

from calls.models import CallRecord
from controlplane.accounts.actions.operators import create_operator, ensure_roles
from controlplane.accounts.models import Subscriber
from controlplane.audit.record import record
from controlplane.outbox.models import Outbox
from rollout.actions import rulesets
from rollout.models import Audience, Ruleset, Wave
from tests import builders
from tests.access.table import MAY, Caller, Least, web
from tests.builders import NOON
from tests.journeys.signaling import token_of
from tests.operators import TESTS
from tests.rollout import cast

pytestmark = pytest.mark.django_db

METHODS = ("get", "post", "put", "patch", "delete")
PASSWORD = "a long enough password 42"
NOT_THERE = {"key": "absent", "id": "0", "version": "0", "a": "0", "b": "0", "subscriber": str(UUID(int=7)),
             "device": str(UUID(int=7)),
             "named": str(UUID(int=7)), "content_type_id": "0", "object_id": "0", "kind": "feature",
             "verb": "off", "app_label": "rollout", "url": "nowhere"}  # fmt: skip

LAST = {("ANY", "console/logout/"), ("DELETE", "v1/me")}  # whoever was there isn't, afterwards


def addresses(resolver: Any = None, before: str = "") -> Iterator[tuple[str, str]]:
    """(method, address) of everything that the web answers; a view that takes any method answers ANY."""
    for pattern in (resolver or get_resolver()).url_patterns:
        address = before + re.sub(r"^\^|\$$|/\$$", "", re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", str(pattern.pattern)))
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, address)
            continue
        view = getattr(pattern.callback, "cls", None)
        if view is not None:
            yield from ((method.upper(), address) for method in METHODS if hasattr(view, method))
        elif address.endswith("/change/"):
            yield from (("GET", address), ("POST", address))
        elif address == "console/autocomplete/":
            yield "GET", address
        else:
            yield "ANY", address or "/"


def test_addresses__of_the_web__all_stand_in_the_table() -> None:
    assert set(addresses()) - set(web()) == set(), "the table doesn't say who may come here"
    assert set(web()) - set(addresses()) == set(), "the table tells of addresses that are gone"


@pytest.fixture
def rows() -> dict[str, str]:
    """The id of one row of each kind that the console shows."""
    stage = cast.launch()
    rulesets.publish(TESTS, NOON)
    audience = Audience.objects.create(key="germans", name="Germans", any_of=[])
    wave = Wave.objects.create(feature=stage.feature, name="Android", position=1, share_ppm=1)
    call = CallRecord.objects.create(id=UUID(int=3), caller=b"", callee=b"", media="audio", created_at=NOON)
    entry = record("feature.created", subject="tests", actor=TESTS, now=NOON)
    ensure_roles()
    effect = Outbox.objects.create(kind="x", key="x")
    made = {
        "accounts/subscriber": stage.alice, "accounts/apikey": builders.api_key("read")[1],
        "auth/user": User.objects.create_user("somebody"), "auth/group": Group.objects.first(),
        "audit/auditentry": entry, "outbox/outbox": effect, "rollout/feature": stage.feature,
        "rollout/audience": audience, "rollout/ruleset": Ruleset.objects.first(), "rollout/window": stage.window,
        "rollout/wave": wave, "rollout/area": stage.area, "rollout/grant": stage.root, "calls/callrecord": call,
    }  # fmt: skip
    return {kind: str(row.pk) for kind, row in made.items() if row is not None}


def client_of(caller: Caller) -> Client:
    """A client that carries what the caller has."""
    headers: dict[str, str] = {}
    roles: list[str] = []
    match caller:
        case Caller.PHONE:
            token = token_of(builders.device(Subscriber.objects.all()[0]))
            headers = {"Authorization": f"Bearer {token}"}
        case Caller.EVALUATE | Caller.READ | Caller.OPERATE | Caller.AUDIT:
            headers = {"X-API-Key": builders.api_key(caller.name.lower())[0]}
        case Caller.REVOKED:
            headers = {"X-API-Key": builders.api_key(revoked_at=timezone.now())[0]}
        case Caller.VIEWER | Caller.OPERATOR | Caller.AUDITOR | Caller.ADMIN:
            roles = [caller.name.lower()]
    client = Client(headers=headers, raise_request_exception=False)
    if roles or caller in (Caller.STAFF, Caller.LEFT):
        user = create_operator("olga", password=PASSWORD, roles=roles or ["viewer"], actor=TESTS, now=NOON)
        client.force_login(user)
        if caller is Caller.LEFT:
            User.objects.filter(pk=user.pk).update(is_active=False)
        elif not roles:
            user.groups.clear()
    return client


def filled(address: str, rows: dict[str, str]) -> str:
    """An address with something in its places: a row of the kind, or what isn't there."""
    kind = next((kind for kind in rows if address.startswith(f"console/{kind}/")), "")
    places = {**NOT_THERE, "object_id": rows.get(kind, "0"), "id": rows.get(kind, "0")}
    if address.startswith(("console/do/", "console/panel/")):
        places["id"] = rows["rollout/feature"]
    if address.startswith("api/calls/"):
        places["id"] = str(UUID(int=9))
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda place: places[place[1]], address)
    more = "?app_label=rollout&model_name=wave&field_name=feature" if "autocomplete" in address else ""
    return "/" + path.lstrip("/") + more


def is_let_in(client: Client, method: str, path: str) -> bool:
    body: Any = {} if path.startswith("/console/") else b'{"no_such_member": 1}'
    kind = {} if path.startswith("/console/") else {"content_type": "application/json"}
    answer: Any = getattr(client, method.lower())(path, **({} if method == "GET" else {"data": body, **kind}))
    assert answer.status_code < 500, f"{method} {path} answers {answer.status_code}: {answer.content[:300]!r}"
    to_sign_in = answer.status_code == 302 and answer["Location"].startswith("/console/login/")
    return answer.status_code not in (401, 403) and not to_sign_in


@pytest.mark.parametrize("caller", Caller)
def test_every_address__asked_by_one__lets_in_whom_the_table_says(caller: Caller, rows: dict[str, str]) -> None:
    client = client_of(caller)
    wrong = []
    for (method, address), least in sorted(web().items(), key=lambda line: line[0] in LAST):
        for asked in ("GET", "POST") if method == "ANY" else (method,):
            let_in = is_let_in(client, asked, filled(address, rows))
            if let_in != (caller in MAY[least]):
                wrong.append(f"{asked} {address} {'lets in' if let_in else 'refuses'} {caller}; it takes {least}")

    assert "\n".join(wrong) == ""


def test_table__of_who_may__gives_nobody_more_than_an_admin() -> None:
    people = {Caller.STAFF, Caller.VIEWER, Caller.OPERATOR, Caller.AUDITOR}

    assert all(Caller.ADMIN in may for may in MAY.values() if may & people)
    assert not any(may & {Caller.REVOKED, Caller.LEFT} for least, may in MAY.items() if least is not Least.NOTHING)
