"""What an access token says of its bearer beyond the account: the area, and every live grant."""

from __future__ import annotations

from typing import Any

from controlplane.accounts.models import Device
from rollout.models import Area, Grant, GrantState
from rollout.questions.visibility import carried
from rollout.rules.definition.area import AreaPlace, area_of


def rollout_claims(device: Device) -> dict[str, Any]:
    """`area` (empty where none fits), `g` (live grants by feature) and `fr` (features whose grant is frozen).

    Phones can read their token, so grants of features that they may not know of are left out.
    """
    owner = device.subscriber
    places = [
        AreaPlace(key, frozenset(countries), frozenset(carriers))
        for key, countries, carriers in Area.objects.values_list("key", "countries", "carriers")
    ]
    live = Grant.objects.live().filter(subscriber_id=owner.id).select_related("feature").order_by("feature__key")
    found = list(live)
    known = {feature.key for feature in carried(grant.feature for grant in found)}
    grants = [grant for grant in found if grant.feature.key in known]
    return {
        "area": area_of(places, owner.country, owner.carrier) or "",
        "g": {grant.feature.key: _claim(grant) for grant in grants},
        "fr": [grant.feature.key for grant in grants if grant.state == GrantState.FROZEN],
    }


def _claim(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.id,
        "src": grant.source,
        "depth": grant.depth,
        "at": int(grant.granted_at.timestamp()),
        "root": grant.root or grant.id,
    }
