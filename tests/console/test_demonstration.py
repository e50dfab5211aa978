"""The demonstration's seed: made once, safe to repeat, and only where it was asked for."""

from __future__ import annotations

import dataclasses
import json
import stat
import subprocess
import sys
from io import StringIO
from urllib.parse import quote

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from controlplane.accounts.models import ApiKey, Subscriber
from controlplane.actions.demonstration import NotADemonstration, seed
from controlplane.audit.models import AuditEntry
from rollout.actions import features, grants
from rollout.models import Area, Feature, Grant, Window
from tests.builders import NOON
from tests.operators import TESTS

pytestmark = pytest.mark.django_db


@pytest.fixture
def env(tmp_path):
    return dataclasses.replace(settings.ENV, data=tmp_path, demonstration=True)


def test_seed__on_an_empty_deployment__makes_what_a_first_call_needs(env):
    seed(env, now=NOON)

    told = json.loads((env.state / "demonstration.json").read_text())
    assert stat.S_IMODE((env.state / "demonstration.json").stat().st_mode) == 0o600
    assert User.objects.get(username="operator").check_password(told["console"]["password"])
    assert [person["name"] for person in told["people"]] == ["alice", "bob", "carol"]
    alice, bob, _ = told["people"]
    assert alice["link"].endswith(f"&call={quote(bob['phone'])}")
    assert bob["link"].endswith(f"&call={quote(alice['phone'])}")
    feature, window = Feature.objects.get(), Window.objects.get()
    assert (feature.switch, feature.access, feature.visible_to_phones) == ("on", "granted", True)
    assert (window.state, window.test) == ("open", True)
    assert Area.objects.get(key="DE").capacity_calls == 20
    assert Grant.objects.get().subscriber.name == "alice"
    assert not AuditEntry.objects.exclude(actor="seed").exists()


def test_seed__repeated__changes_nothing_and_keeps_what_somebody_changed(env):
    first = seed(env, now=NOON).told
    features.switch_off("voice-calls", actor=TESTS, now=NOON)
    models = (User, Feature, Window, Area, Grant, Subscriber, ApiKey)
    before = [model.objects.count() for model in models]

    again = seed(env, now=NOON)

    assert (again.made, again.told) == ([], first)
    assert [model.objects.count() for model in models] == before
    assert Feature.objects.get().switch == "off"
    assert AuditEntry.objects.latest("id").verb == "feature.switched_off"


def test_seed__after_its_file_was_lost__gives_a_new_password_and_key(env):
    first = seed(env, now=NOON).told
    (env.state / "demonstration.json").unlink()

    again = seed(env, now=NOON).told

    assert User.objects.get(username="operator").check_password(again["console"]["password"])
    assert first["api_key"] != again["api_key"]


def test_seed__where_it_is_no_demonstration__refuses_and_changes_nothing(env):
    with pytest.raises(NotADemonstration):
        seed(dataclasses.replace(env, demonstration=False), now=NOON)

    assert not User.objects.exists()
    assert not (env.state / "demonstration.json").exists()


@pytest.mark.parametrize(
    ("having", "called", "said"),
    [
        (["alice"], "bob", "bob doesn't have calling yet: answering the call turns it on."),
        (["alice", "bob"], "carol", "carol doesn't have calling yet: answering the call turns it on."),
        (
            ["alice", "bob", "carol"],
            "bob",
            "bob has calling already, so this call activates nobody. `make reset` starts",
        ),
    ],
)
def test_demonstrate__again__calls_somebody_fresh_or_says_that_nobody_is(
    env, monkeypatch, having: list[str], called: str, said: str
):
    monkeypatch.setattr(settings, "ENV", env)
    seed(env, now=NOON)
    others = [person for person in Subscriber.objects.filter(name__in=having) if person.name != "alice"]
    for person in others:
        grants.grant_people("voice-calls", subscribers=[person.pk], actor=TESTS, now=NOON)
    started: list[list[str]] = []

    def start(self, url, person, words, heard=None):
        started.append([person["name"], *words])
        raise CommandError("no phones in this test")

    monkeypatch.setattr("controlplane.management.commands.demonstrate.Command._start", start)
    out = StringIO()
    with pytest.raises(CommandError, match="no phones"):
        call_command("demonstrate", stdout=out)

    assert said in out.getvalue()
    assert started[0][0] == called


def test_demonstrate__while_a_phone_takes_long__says_what_it_waits_for(env, monkeypatch):
    monkeypatch.setattr(settings, "ENV", env)
    seed(env, now=NOON)
    monkeypatch.setattr("controlplane.management.commands.demonstrate.LONGEST_SILENCE", 0.2)

    def start(self, url, person, words, heard=None):
        slow = "import time; time.sleep(0.7); raise SystemExit(1)"
        return subprocess.Popen([sys.executable, "-c", slow], text=True)

    monkeypatch.setattr("controlplane.management.commands.demonstrate.Command._start", start)
    out = StringIO()
    with pytest.raises(CommandError, match="doesn't start"):
        call_command("demonstrate", stdout=out)

    assert "… waiting for bob's phone to start" in out.getvalue()
