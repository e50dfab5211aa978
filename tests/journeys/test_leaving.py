"""Somebody deletes their account, or their number goes to somebody else: nothing of them is left to use or to see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import jwt
import pytest
from aiohttp import ClientSession
from django.utils import timezone

from controlplane.accounts.models import Block, Device, Subscriber
from tests.journeys.handset import Handset
from tests.journeys.signaling import Phone, Stage, phones, rows, running_edge
from tests.operators import Api
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)


def own(stage: Stage, name: str) -> Handset:
    handset = Handset(stage.number(name)).register()
    handset.publish()
    return handset


async def test_account__that_its_person_deletes__is_gone_everywhere_within_a_second(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "bob") as (bob,), ClientSession() as session:
        alice = await rows(lambda: own(stage, "alice"))
        socket = await Phone(f"http://127.0.0.1:{edge.env.port}", alice.token, alice.device, session).connect()
        await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))

        deleted = await rows(lambda: alice.ask("DELETE", "/v1/me"))

        assert deleted.status_code == 204
        assert await socket.closed(1) == 4401
        assert (await rows(lambda: alice.ask("GET", "/v1/me"))).status_code == 401
        assert (await rows(alice.refresh)).status_code == 401
        refused = await bob.refused("prepare", callee={"phone": stage.number("alice")})
        assert refused["code"] == "cannot_be_called_now"
        again = await rows(lambda: Handset(alice.number, account=alice.account).register())
        assert again.subscriber != alice.subscriber


def test_number__given_to_somebody_else_by_the_messenger__shows_them_nothing_of_the_one_before(stage: Stage) -> None:
    before = own(stage, "alice")
    before.ask("PATCH", "/v1/me", {"accepts_invites": False})
    before.ask("PUT", f"/v1/me/blocks/{stage.launch.bob.pk}")
    Block.objects.create(blocker=stage.launch.carol, blocked_id=before.subscriber, created_at=timezone.now())
    api = Api()

    answer = api.post(f"subscribers/{before.subscriber}/recycle", {"reason": "The network gave the number away."})
    now = Handset(before.number).register()

    assert answer.status_code == 200
    assert answer.told["id"] == now.subscriber != before.subscriber
    me = now.ask("GET", "/v1/me").json()
    assert (me["blocks"], me["device_list"], me["accepts_invites"], me["name"]) == ([], None, True, "")
    assert [device["id"] for device in now.ask("GET", "/v1/me/devices").json()["devices"]] == [now.device]
    assert claims(now)["g"] == {}
    assert not Block.objects.exists()
    assert before.refresh().status_code == 401
    assert api.get(f"subscribers/{before.subscriber}").status_code == 404
    assert api.get(f"subscribers/{now.subscriber}").told["grants"] == []


def claims(handset: Handset) -> dict[str, Any]:
    return dict(jwt.decode(handset.token, options={"verify_signature": False}))


def test_number__long_silent__is_the_same_person_for_a_phone_that_shows_the_accounts_key(stage: Stage) -> None:
    before = own(stage, "alice")
    Device.objects.update(seen_at=timezone.now() - timedelta(days=46))
    same = Handset(before.number, account=before.account).register()
    Device.objects.update(seen_at=timezone.now() - timedelta(days=46))
    other = Handset(before.number).register()

    assert same.subscriber == before.subscriber
    assert set(claims(same)["g"]) == {cast.CALLS}
    assert other.subscriber != before.subscriber
    assert claims(other)["g"] == {}


def test_subscriber__deleted_by_an_operator__is_gone_and_audited(stage: Stage) -> None:
    api, alice = Api(), stage.launch.alice

    first, again = (api.delete(f"subscribers/{alice.pk}") for _ in range(2))

    assert (first.status_code, again.status_code) == (204, 404)
    assert not Subscriber.objects.filter(pk=alice.pk).exists()
    last = api.get("audit?limit=1000").told["results"][-1]
    assert (last["verb"], last["subject"]) == ("subscriber.deleted", f"subscriber:{alice.pk}")
    (hers,) = api.get("grants").told["results"]
    assert (hers["id"], hers["state"], hers["subscriber"]) == (stage.launch.root.pk, "tombstone", None)
