"""A phone whose app was too old for calls: once it says that it was updated, its next token lets it call."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession
from django.utils import timezone

from rollout.actions import rulesets
from rollout.models import Feature
from tests.journeys.handset import Handset
from tests.journeys.signaling import Phone, Stage, rows, running_edge
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)


async def test_phone__after_its_app_was_updated__may_call_with_its_next_token(stage: Stage) -> None:
    def prepare() -> Handset:
        Feature.objects.update(requirements={"platforms": {"android": {"app": "2.20.0"}}})
        rulesets.publish(cast.OPERATOR, timezone.now())
        cast.grant(stage.launch.feature, stage.launch.bob)
        handset = Handset(stage.number("bob")).register()
        handset.publish()
        return handset

    def update(handset: Handset) -> None:
        handset.ask("PATCH", "/v1/me/device", {"app_version": "2.20.1"})
        handset.session = handset.refresh().json()

    bob = await rows(prepare)
    async with running_edge(stage) as edge, ClientSession() as session:
        phone = await Phone(f"http://127.0.0.1:{edge.env.port}", bob.token, bob.device, session).connect()
        refused = await phone.refused("prepare", callee={"phone": "+4930901899999"})

        await rows(lambda: update(bob))
        assert phone.socket is not None
        await phone.socket.send_json({"k": "token", "token": bob.token})
        after = await phone.refused("prepare", callee={"phone": "+4930901899999"})

    assert (refused["code"], refused["cause"]) == ("not_enabled", "update_required")
    assert after["code"] == "cannot_be_called_now"  # nobody has that number: about the caller there is nothing to say
