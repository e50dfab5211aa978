"""The demonstration that `make run` starts with: one feature, two areas, three people, an open window, one operator.

Made once and safe to repeat: what is there stays as it is, also where somebody changed it. Everything goes through the
same actions as an operator's own clicks, so it stands in the audit.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction

from controlplane.accounts.actions.keys import live_key
from controlplane.accounts.actions.operators import create_operator, ensure_roles
from controlplane.accounts.actions.subscribers import NewPerson, import_people
from controlplane.accounts.models import Subscriber
from controlplane.actions import keys
from controlplane.audit.record import Actor
from controlplane.base.env import Env
from controlplane.base.files import write_whole
from controlplane.base.keys import Keys
from controlplane.base.refusal import Refusal
from rollout.actions import areas, features, grants, windows
from rollout.models import Area, Feature, Grant, Source, Window

SEED = Actor.automatic("seed")
FEATURE = "voice-calls"
OPERATOR = "operator"
KEY_NAME = "demonstration"
# Numbers that the German regulator keeps free for films: they belong to nobody.
PEOPLE = (("alice", "+493090182001"), ("bob", "+493090182002"), ("carol", "+493090182003"))
CAPACITY = 20
WINDOW = "Saturday test"


class NotADemonstration(Refusal):
    code = "not_a_demonstration"
    status = 409
    title = "This deployment is not a demonstration"


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was made, in words; `told` is what demonstration.json holds."""

    made: list[str]
    told: dict[str, Any]


def seed(env: Env, *, now: datetime) -> Seeded:
    """The demonstration exists afterwards, and its file names addresses, password, key and people. Only for them."""
    if not env.demonstration:
        raise NotADemonstration("Set ROLLCALL_DEMONSTRATION=1 to seed people who don't exist. Nothing was changed.")
    before = read(env)
    made: list[str] = []
    with transaction.atomic():
        ensure_roles()
        password = _operator(before, made, now)
        _areas(made, now)
        _feature(made, now)
        _first_grant(_people(env, made, now), made, now)
        _window(made, now)
        key = _key(before, made, now)
    told = _told(env, password, key)
    write(env, told)
    return Seeded(made, told)


def _operator(before: dict[str, Any], made: list[str], now: datetime) -> str:
    """The password of the operator; a new one when the file that held it is lost."""
    known = str((before.get("console") or {}).get("password") or "")
    user = User.objects.filter(username=OPERATOR).first()
    if user is None:
        password = secrets.token_urlsafe(12)
        create_operator(OPERATOR, password=password, roles=["admin"], actor=SEED, now=now)
        made.append(f"the operator “{OPERATOR}”")
        return password
    if known and user.check_password(known):
        return known
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.save(update_fields=["password"])
    made.append(f"a new password for “{OPERATOR}”")
    return password


def _areas(made: list[str], now: datetime) -> None:
    # Short ticks, so that a newcomer doesn't wait for the first measurement.
    terms: dict[str, Any] = {"tick_seconds": 5.0, "stale_seconds": 45.0, "actor": SEED, "now": now}
    if not Area.objects.filter(key="DE").exists():
        areas.create_area("DE", name="Germany", countries=["DE"], capacity_calls=CAPACITY, **terms)
        made.append(f"the area DE, for {CAPACITY} calls")
    if not Area.objects.filter(key="everywhere").exists():
        areas.create_area("everywhere", name="Everywhere else", capacity_calls=100, **terms)
        made.append("the area everywhere")


def _feature(made: list[str], now: datetime) -> None:
    if Feature.objects.filter(key=FEATURE).exists():
        return
    fields = {"access": "granted", "visible_to_phones": True, "description": "Calls from phone to phone, by voice."}
    reason = "The demonstration begins."
    features.create_feature(FEATURE, name="Voice calls", fields=fields, actor=SEED, now=now, reason=reason)
    features.switch_on(FEATURE, actor=SEED, now=now, reason=reason)
    made.append(f"the feature {FEATURE}, switched on")


def _people(env: Env, made: list[str], now: datetime) -> UUID:
    """The three exist afterwards; alice's id."""
    hashes = [Keys(env.secret).phone_hash(phone) for _, phone in PEOPLE]
    known = {bytes(row.phone_hash): row.pk for row in Subscriber.objects.filter(phone_hash__in=hashes)}
    if len(known) < len(PEOPLE):
        people = import_people([NewPerson(phone, name=name) for name, phone in PEOPLE], actor=SEED, now=now)
        made.append(", ".join(name for name, _ in PEOPLE))
        return people[PEOPLE[0][1]]
    return known[hashes[0]]


def _first_grant(person: UUID, made: list[str], now: datetime) -> None:
    if Grant.objects.filter(feature__key=FEATURE).exists():
        return
    reason = "Somebody has to be the first who can call."
    grants.grant_people(FEATURE, subscribers=[person], source=Source.OPERATOR, actor=SEED, now=now, reason=reason)
    made.append("a grant for alice")


def _window(made: list[str], now: datetime) -> None:
    if Window.objects.filter(feature__key=FEATURE).exists():
        return
    question = "Does calling spread from person to person, and does the network carry it?"
    window = windows.create_window(
        FEATURE, name=WINDOW, question=question, test=True, quota=5, places=100, actor=SEED, now=now
    )
    windows.open_window(window.pk, actor=SEED, now=now, reason="So that the newcomer's first call spreads calling.")
    made.append(f"the open window “{WINDOW}”")


def _key(before: dict[str, Any], made: list[str], now: datetime) -> str:
    known = str(before.get("api_key") or "")
    if known and live_key(known, now=now) is not None:
        return known
    key, _ = keys.issue(KEY_NAME, scopes=["evaluate", "read", "operate", "audit"], actor=SEED, now=now)
    made.append("an API key for the demonstration")
    return key


def _told(env: Env, password: str, key: str) -> dict[str, Any]:
    host = "127.0.0.1" if env.host in ("0.0.0.0", "::") else env.host  # noqa: S104
    console = f"http://{host}:{env.console_port}"
    people = [
        {
            "name": name,
            "phone": phone,
            "folder": str(env.state / "phones" / name),
            "link": f"{env.public_url}/phone/?as={name}&phone={quote(phone)}&call={quote(other)}",
        }
        for (name, phone), (_, other) in zip(PEOPLE, (*PEOPLE[1:2], *PEOPLE[:1], *PEOPLE[:1]), strict=True)
    ]
    return {
        "public_url": env.public_url,
        "console_url": console,
        "console": {"url": f"{console}/console/", "user": OPERATOR, "password": password},
        "api_key": key,
        "people": people,
        "call_line": ".venv/bin/python manage.py demonstrate",
        "browser": [person["link"] for person in people[:2]],
    }


def read(env: Env) -> dict[str, Any]:
    """What the file tells; empty when there is none, or it is damaged (it is written anew then)."""
    try:
        found = json.loads(_path(env).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(env: Env, told: dict[str, Any]) -> None:
    """The file holds it afterwards, whole, and only its owner can read it."""
    path = _path(env)
    for person in told["people"]:
        Path(person["folder"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, json.dumps(told, indent=2).encode() + b"\n")


def _path(env: Env) -> Path:
    return env.state / "demonstration.json"
