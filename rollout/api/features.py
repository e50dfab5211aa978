"""Features over REST: the list, one feature, its verbs, and its invite tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import BadInput, NotFound
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING_BY_KEY, ReasonBody, keyed_page, list_of, listed, read
from controlplane.rest.etags import revision_asked, tagged
from controlplane.rest.subscribers import find_subscriber
from rollout.actions import features
from rollout.api.bodies import AccessBody, BranchAnswer, FeatureAnswer, FeatureBody, FeaturePatch, KillBody
from rollout.errors import FeatureUnknown
from rollout.models import Feature
from rollout.questions.overview import Branch, invite_tree, live_grant


def feature_of(key: str) -> Feature:
    feature = Feature.objects.filter(key=key).first()
    if feature is None:
        raise FeatureUnknown(key)
    return feature


def answer(feature: Feature, *, status: int = 200) -> Response:
    return tagged(Response(FeatureAnswer(feature).data, status=status), feature.revision)


def done(request: Request, key: str, action: Callable[..., Feature], **body: Any) -> Response:
    """What the verb made of the feature. With `If-Match`, only if nobody changed it since."""
    revision = revision_asked(request)
    with transaction.atomic():
        if revision is not None:
            features.expect(key, revision)
        feature = action(key, actor=actor_of(request), now=timezone.now(), **body)
    return answer(feature)


class FeaturesView(APIView):
    @extend_schema(parameters=PAGING_BY_KEY, responses=list_of(FeatureAnswer), operation_id="list_features")
    def get(self, request: Request) -> Response:
        """Features in the order of their keys."""
        return listed(FeatureAnswer, *keyed_page(request, Feature.objects.all()))

    @extend_schema(request=FeatureBody, responses={201: FeatureAnswer}, operation_id="create_feature")
    def post(self, request: Request) -> Response:
        """A new feature, switched off."""
        body = read(FeatureBody, request)
        made = features.create_feature(
            body.pop("key"),
            name=body.pop("name"),
            kind=body.pop("kind"),
            reason=body.pop("reason"),
            fields=body,
            actor=actor_of(request),
            now=timezone.now(),
        )
        return answer(made, status=201)


class FeatureView(APIView):
    @extend_schema(responses=FeatureAnswer, operation_id="get_feature")
    def get(self, request: Request, key: str) -> Response:
        """One feature."""
        return answer(feature_of(key))

    @extend_schema(request=FeaturePatch, responses=FeatureAnswer, operation_id="change_feature")
    def patch(self, request: Request, key: str) -> Response:
        """Changes what is sent, and nothing else."""
        body = read(FeaturePatch, request, partial=True)
        reason, revision = body.pop("reason", ""), body.pop("revision", revision_asked(request))
        changed = features.change_feature(
            key, changes=body, reason=reason, revision=revision, actor=actor_of(request), now=timezone.now()
        )
        return answer(changed)


def verb(name: str, action: Callable[..., Feature], words: str) -> type[APIView]:
    """The view of a verb that takes only a reason."""

    @extend_schema(request=ReasonBody, responses=FeatureAnswer, operation_id=f"{name}_feature", description=words)
    def post(self: APIView, request: Request, key: str) -> Response:
        return done(request, key, action, **read(ReasonBody, request))

    return type(f"{name.capitalize()}View", (APIView,), {"post": post})


OnView = verb("on", features.switch_on, "Switches the feature on.")
OffView = verb("off", features.switch_off, "No new calls; running ones finish.")
UnkillView = verb("unkill", features.unkill, "As it was before the kill.")
LaunchView = verb("launch", features.launch, "Whoever is eligible has it; no grant is needed any more.")


class KillView(APIView):
    @extend_schema(request=KillBody, responses=FeatureAnswer, operation_id="kill_feature")
    def post(self, request: Request, key: str) -> Response:
        """Stops the feature for everybody; with `end_calls`, calls that run end too."""
        return done(request, key, features.kill, **read(KillBody, request))


class AccessView(APIView):
    @extend_schema(request=AccessBody, responses=FeatureAnswer, operation_id="set_feature_access")
    def post(self, request: Request, key: str) -> Response:
        """Who decides who has it: grants, the rules, or nobody (everyone)."""
        return done(request, key, features.set_access, **read(AccessBody, request))


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
        named = request.query_params.get("root", "")
        if not named:
            raise BadInput("Name the person at the root: ?root=<id or number>.", path="root")
        grant = live_grant(feature_of(key), find_subscriber(named, path="root"))
        if grant is None:
            raise NotFound("This person has never had the feature, so there is no tree below them.")
        return Response(branch_answer(invite_tree(grant)))
