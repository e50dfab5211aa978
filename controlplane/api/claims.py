"""What an access token says of its bearer beyond the account: traits, and every live grant."""

from __future__ import annotations

from typing import Any

from controlplane.accounts.models import Device
from rollout.models import Feature
from rollout.questions.evaluate import find_people
from rollout.questions.visibility import carried
from rollout.rules.decision.decision import GrantFact


def rollout_claims(device: Device) -> dict[str, Any]:
    """`tr` (traits with this device in hand), `g` (live grants by feature), `fr` (features whose grant is frozen).

    Phones can read their token, so grants of features that they may not know of are left out.
    """
    (bearer,) = find_people([device.subscriber_id])
    held = bearer.grants
    known = [feature.key for feature in carried(Feature.objects.filter(key__in=held).order_by("key"))]
    return {
        "tr": dict(bearer.party(str(device.id)).traits),
        "g": {key: _claim(held[key]) for key in known},
        "fr": [key for key in known if held[key].frozen],
    }


def _claim(grant: GrantFact) -> dict[str, Any]:
    return {"id": grant.id, "src": grant.source, "depth": grant.depth, "at": int(grant.at), "root": grant.root}
