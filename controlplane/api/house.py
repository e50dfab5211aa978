"""The operators' REST about people, keys, the audit, the outbox, calls, and how it all stands."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Q
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calls.models import CallRecord
from controlplane.accounts.actions.devices import live_device_of, sign_out_device
from controlplane.accounts.actions.keys import Scope
from controlplane.accounts.actions.leaving import delete_person, recycle_number
from controlplane.accounts.actions.subscribers import NewPerson, import_people
from controlplane.accounts.models import ApiKey, Subscriber
from controlplane.api import house_bodies as bodies
from controlplane.api import keys
from controlplane.audit.models import AuditEntry
from controlplane.audit.verify import verify
from controlplane.base.refusal import BadInput, NotFound
from controlplane.base.version import VERSION
from controlplane.console.panels import overview
from controlplane.outbox.models import Outbox
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING, ReasonBody, list_of, listed, newest_page, number, oldest_page, read
from controlplane.rest.subscribers import find_subscriber
from rollout.actions.grants import leave_tombstones
from rollout.models import CallEvidence
from rollout.questions.overview import AreaRow, FeatureRow

INTERVALS = ("token_seconds", "token_grace_seconds", "edge_report_seconds", "poll_seconds", "route_seconds",
             "ring_seconds", "setup_seconds", "accepting_seconds", "alive_seconds")  # fmt: skip


class DeploymentView(APIView):
    @extend_schema(responses=bodies.DeploymentAnswer, operation_id="get_deployment")
    def get(self, request: Request) -> Response:
        """What this deployment is, and its intervals."""
        env = settings.ENV
        intervals = {name: float(getattr(env, name)) for name in INTERVALS}
        told = {"demonstration": env.demonstration, "version": VERSION, "public_url": env.public_url}
        return Response({**told, "intervals": intervals})


class SubscribersView(APIView):
    @extend_schema(
        parameters=[
            OpenApiParameter("limit", int, description="How many at most: 1 to 1000; usually 100"),
            OpenApiParameter("after", UUID, description="Go on after this subscriber, as `next` does"),
        ],
        responses=list_of(bodies.SubscriberAnswer),
        operation_id="list_subscribers",
    )
    def get(self, request: Request) -> Response:
        """Subscribers in the order in which they joined. No numbers: those are stored sealed."""
        limit = number(request, "limit", usual=100, least=1, most=1000)
        rows = Subscriber.objects.order_by("pk")
        if after := request.query_params.get("after"):
            try:
                rows = rows.filter(pk__gt=UUID(after))
            except ValueError:
                raise BadInput("after must be a subscriber's id.", path="after") from None
        page = list(rows[: limit + 1])
        address = f"{request.build_absolute_uri(request.path)}?limit={limit}&after="
        return listed(
            bodies.SubscriberAnswer, page[:limit], address + str(page[limit - 1].pk) if page[limit:] else None
        )

    @extend_schema(request=bodies.SubscribersBody, responses={201: bodies.ImportedAnswer}, operation_id="import_people")
    def post(self, request: Request) -> Response:
        """Brings in people that the messenger knows already. Who is known keeps their row. All of them, or nobody."""
        body = read(bodies.SubscribersBody, request)
        people = [NewPerson(**each) for each in body["subscribers"]]
        ids = import_people(people, actor=actor_of(request), now=timezone.now(), reason=body["reason"])
        return Response({"subscribers": {phone: str(id) for phone, id in ids.items()}}, status=201)


class SubscriberView(APIView):
    @extend_schema(responses=bodies.SubscriberDetailAnswer, operation_id="get_subscriber")
    def get(self, request: Request, named: str) -> Response:
        """One subscriber by id or number, with devices and grants."""
        person = find_subscriber(named)
        shown: Any = Subscriber.objects.prefetch_related("devices", "grants__feature").get(pk=person.pk)
        answer: dict[str, Any] = dict(bodies.SubscriberAnswer(shown).data)
        answer["devices"] = bodies.DeviceShown(shown.devices.all(), many=True).data
        answer["grants"] = bodies.GrantShown(shown.grants.all(), many=True).data
        return Response(answer)

    @extend_schema(request=None, responses={204: None}, operation_id="delete_subscriber")
    def delete(self, request: Request, named: str) -> Response:
        """Erases a person: number, name, traits, keys, devices and tokens. The invite graph keeps an empty place."""
        person = find_subscriber(named).pk
        delete_person(person, unlink=leave_tombstones, actor=actor_of(request), now=timezone.now())
        return Response(status=204)


class RecycleView(APIView):
    @extend_schema(request=ReasonBody, responses=bodies.SubscriberAnswer, operation_id="recycle_number")
    def post(self, request: Request, named: str) -> Response:
        """The number belongs to somebody else now: answers the new person, to whom nothing of the old one shows."""
        reason = read(ReasonBody, request)["reason"]
        old = find_subscriber(named).pk
        new = recycle_number(old, unlink=leave_tombstones, actor=actor_of(request), now=timezone.now(), reason=reason)
        return Response(bodies.SubscriberAnswer(new).data)


class RevokeDeviceView(APIView):
    @extend_schema(request=ReasonBody, responses=bodies.DeviceShown, operation_id="revoke_device")
    def post(self, request: Request, named: str, device: UUID) -> Response:
        """Signs one of a subscriber's devices out: a lost phone, say. Within a second it is heard and rung no more."""
        reason = read(ReasonBody, request)["reason"]
        found = live_device_of(find_subscriber(named).pk, device)
        sign_out_device(found, actor=actor_of(request), now=timezone.now(), reason=reason)
        found.refresh_from_db()
        return Response(bodies.DeviceShown(found).data)


class KeysView(APIView):
    @extend_schema(parameters=PAGING, responses=list_of(bodies.KeyAnswer), operation_id="list_keys")
    def get(self, request: Request) -> Response:
        """API keys, the newest first; their secrets can't be read."""
        return listed(bodies.KeyAnswer, *newest_page(request, ApiKey.objects.all()))

    @extend_schema(request=bodies.KeyBody, responses={201: bodies.NewKeyAnswer}, operation_id="create_key")
    def post(self, request: Request) -> Response:
        """A new key. Its secret stands in this answer and nowhere else.

        It may no more than the key that makes it, and ends with that at the latest.
        """
        body = read(bodies.KeyBody, request)
        maker = request.auth if isinstance(request.auth, ApiKey) else None
        key, row = keys.issue(body.pop("name"), actor=actor_of(request), now=timezone.now(), maker=maker, **body)
        return Response({**bodies.KeyAnswer(row).data, "key": key}, status=201)


class RevokeKeyView(APIView):
    @extend_schema(request=ReasonBody, responses=bodies.KeyAnswer, operation_id="revoke_key")
    def post(self, request: Request, id: int) -> Response:
        """Whoever uses the key is refused from now on."""
        reason = read(ReasonBody, request)["reason"]
        row = keys.withdraw(id, actor=actor_of(request), now=timezone.now(), reason=reason)
        return Response(bodies.KeyAnswer(row).data)


class AuditView(APIView):
    required_scope = Scope.AUDIT

    @extend_schema(parameters=PAGING, responses=list_of(bodies.AuditAnswer), operation_id="list_audit")
    def get(self, request: Request) -> Response:
        """Who decided what, the oldest first."""
        return listed(bodies.AuditAnswer, *oldest_page(request, AuditEntry.objects.all()))


class VerifyAuditView(APIView):
    required_scope = Scope.AUDIT

    @extend_schema(responses=bodies.VerifyAnswer, operation_id="verify_audit")
    def get(self, request: Request) -> Response:
        """Walks the whole trail: whether an entry was changed, left out or cut off."""
        found = verify()
        return Response(
            {
                "ok": found.ok,
                "entries": found.checked,
                "unsealed": found.unsealed,
                "bad": found.bad,
                "words": found.words,
            }
        )


class OutboxView(APIView):
    @extend_schema(responses=bodies.OutboxAnswer, operation_id="get_outbox")
    def get(self, request: Request) -> Response:
        """How many effects wait to be delivered."""
        now = timezone.now()
        waiting = Outbox.objects.filter(delivered_at__isnull=True)
        counts = Outbox.objects.aggregate(
            waiting=Count("id", filter=Q(delivered_at__isnull=True, due_at__lte=now)),
            later=Count("id", filter=Q(delivered_at__isnull=True, due_at__gt=now)),
            failing=Count("id", filter=Q(delivered_at__isnull=True, attempts__gt=0)),
            delivered=Count("id", filter=Q(delivered_at__isnull=False)),
        )
        kinds = waiting.values("kind").annotate(n=Count("id")).order_by("kind")
        oldest = waiting.filter(due_at__lte=now).order_by("due_at").first()
        return Response(
            {
                **counts,
                "by_kind": {row["kind"]: row["n"] for row in kinds},
                "oldest_due_at": oldest.due_at if oldest else None,
            }
        )


def call_answer(call: CallRecord, setup_ms: int | None) -> dict[str, Any]:
    call.setup_ms = setup_ms  # type: ignore[attr-defined]
    return dict(bodies.CallAnswer(call).data)


class CallView(APIView):
    @extend_schema(responses=bodies.CallAnswer, operation_id="get_call")
    def get(self, request: Request, id: UUID) -> Response:
        """One call: when it rang, was accepted, connected and ended, and why. No content, no numbers."""
        call = CallRecord.objects.filter(pk=id).first()
        if call is None:
            raise NotFound("No call with this id stands in the journal. A call appears there within a few seconds.")
        evidence = CallEvidence.objects.filter(pk=id).first()
        return Response(call_answer(call, evidence.setup_ms if evidence else None))


class OverviewView(APIView):
    @extend_schema(responses=bodies.OverviewAnswer, operation_id="get_overview")
    def get(self, request: Request) -> Response:
        """What the console's overview shows, in the same words."""
        found = overview(timezone.now())
        return Response(
            bodies.OverviewAnswer(
                {
                    "at": found["now"],
                    "needs_person": [f"{what} {todo}" for _, _, what, todo in found["needs"]],
                    "calls": found["calls"],
                    "features": [feature_standing(row) for row in found["features"]],
                    "areas": [area_standing(row) for row in found["areas"]],
                    "outbox_waiting": found["waiting"],
                }
            ).data
        )


def feature_standing(row: FeatureRow) -> dict[str, Any]:
    return {
        "key": row.feature.key,
        "name": row.feature.name,
        "switch": row.feature.switch,
        "access": row.feature.access,
        "headcount": row.headcount,
        "grants": row.holders,
        "subscribers": row.subscribers,
        "running_calls": row.running_calls,
        "sources": row.sources,
        "growth": row.growth,
        "windows": [window.pk for window in row.windows],
        "waves": [wave.pk for wave in row.waves if wave.state == "open"],
        "standing": row.standing,
    }


def area_standing(row: AreaRow) -> dict[str, Any]:
    return {
        "key": row.area.key,
        "name": row.area.name,
        "state": row.area.state,
        "calls": row.calls,
        "capacity_calls": row.area.capacity_calls,
        "load_ppm": row.load_ppm,
        "allowance": row.allowance,
        "standing": row.standing,
    }
