"""The invite tree over REST: whom a person brought in, and whom those brought in."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import BadInput, NotFound
from controlplane.rest.bodies import Body, asked
from controlplane.rest.subscribers import find_subscriber
from rollout.api.features import feature_of
from rollout.questions.invite_tree import Branch, invite_tree, live_grant


@extend_schema_field({"type": "array", "items": {"$ref": "#/components/schemas/BranchAnswer"}})
class Branches(serializers.ListField):
    child = serializers.DictField()


class BranchAnswer(Body):
    """One person in the invite tree. `children` are of the same form."""

    subscriber = serializers.UUIDField(allow_null=True)
    name = serializers.CharField()
    grant = serializers.IntegerField()
    source = serializers.CharField()  # type: ignore[assignment]
    state = serializers.CharField()
    depth = serializers.IntegerField()
    granted_at = serializers.DateTimeField()
    window = serializers.IntegerField(allow_null=True)
    below = serializers.IntegerField(help_text="How many came in below this person")
    children = Branches()


def branch_answer(branch: Branch) -> dict[str, Any]:
    grant = branch.grant
    return {
        "subscriber": str(grant.subscriber_id) if grant.subscriber_id else None,
        "name": grant.subscriber.name if grant.subscriber else "",
        "grant": grant.pk,
        "source": str(grant.source),
        "state": str(grant.state),
        "depth": grant.depth,
        "granted_at": grant.granted_at.isoformat().replace("+00:00", "Z"),
        "window": grant.window_id,
        "below": branch.below,
        "children": [branch_answer(child) for child in branch.children],
    }


class InviteTreeView(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("root", str, required=True, description="A subscriber's id or number")],
        responses=BranchAnswer,
        operation_id="get_invite_tree",
    )
    def get(self, request: Request, key: str) -> Response:
        """Whom this person brought in, whom those brought in, and so on."""
        named = asked(request, "root")
        if not named:
            raise BadInput("Name the person at the root: ?root=<id or number>.", path="root")
        grant = live_grant(feature_of(key), find_subscriber(named, path="root"))
        if grant is None:
            raise NotFound("This person has never had the feature, so there is no tree below them.")
        return Response(branch_answer(invite_tree(grant)))
