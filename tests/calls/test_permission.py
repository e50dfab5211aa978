"""What PostgreSQL reads for a permission: a refusal shows the same, whoever is called."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings

from controlplane.accounts.models import Block, Subscriber
from rollout.rules.spread.invite import CALLEE_ONLY
from tests import builders
from tests.rollout import cast
from tests.rollout.cast import Launch
from tests.rollout.test_grants import SITUATIONS

pytestmark = pytest.mark.django_db


def read(launch: Launch, phone_hash: bytes | None, subscriber: Any = None, country: str | None = "DE") -> Any:
    values = (cast.CALLS, launch.alice.pk, phone_hash, subscriber, country)
    return cast.loaded(cast.ask("SELECT calls_permission(%s, %s, %s, %s, %s)", *values)[0])


def callees(launch: Launch) -> dict[str, bytes]:
    """Hashes of numbers in Germany, one for each thing that may be known of a person."""
    eplus = cast.area(key="eplus", countries=["DE"], carriers=["262-03"], state="hold")
    cast.window(launch.feature, name="Window of a carrier", closes_at=cast.shortly(60)).areas.add(eplus)
    known = {
        "ordinary": builders.subscriber(),
        "enabled": builders.subscriber(),
        "blocking": builders.subscriber(),
        "opted_out": builders.subscriber(accepts_invites=False),
        "of_a_carrier": builders.subscriber(carrier="262-03"),
        "roaming": builders.subscriber(country="FR"),
        "oneself": launch.alice,
    }
    cast.grant(launch.feature, known["enabled"])
    Block.objects.create(blocker=known["blocking"], blocked=launch.alice)
    return {name: bytes(person.phone_hash) for name, person in known.items()} | {"unknown": b"?" * 32}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_shown__in_each_situation__is_the_same_whoever_is_called(situation: str) -> None:
    launch = cast.launch()
    hashes = callees(launch)
    change, outcome, _ = SITUATIONS[situation]
    change(launch)

    told = {name: read(launch, phone_hash)["shown"] for name, phone_hash in hashes.items()}

    for shown in told.values():  # times that count from the question itself
        if "retry_at" in shown:
            shown["retry_at"] = shown["retry_at"] // 60_000
    assert len({repr(sorted(shown.items())) for shown in told.values()}) == 1, told
    one = told["unknown"]["outcome"]
    concerns_callee = outcome in CALLEE_ONLY or outcome == "ok" or situation == "no_area"
    assert one == ("callee_ineligible" if concerns_callee else outcome)


def test_permission__of_somebody_named_by_id_or_unknown__reads_who_that_is() -> None:
    launch = cast.launch()
    bob = Subscriber.objects.get(pk=launch.bob.pk)

    by_id, by_number = read(launch, None, bob.pk, None), read(launch, bytes(bob.phone_hash))

    assert by_id["callee"]["id"] == by_number["callee"]["id"] == str(bob.pk)
    assert by_id["caller"]["grants"][cast.CALLS]["id"] == launch.root.pk
    assert (by_id["switch"], by_id["blocked"], by_id["invite"]["outcome"]) == ("on", False, "ok")
    nobody = read(launch, settings.KEYS.phone_hash("+4930901899"), uuid4())
    assert (nobody["callee"], nobody["callee_list"], nobody["blocked"]) == (None, None, False)
    assert nobody["invite"]["cause"] == "unknown"
