"""What the operators' REST takes and gives about people, keys, the audit and how it all stands."""

from __future__ import annotations

from rest_framework import serializers

from controlplane.accounts.models import SUBSCRIBER_KIND, ApiKey, Subscriber
from controlplane.audit.models import AuditEntry
from controlplane.rest.bodies import Body, ReasonBody

SCOPES = [
    ("evaluate", "Ask what somebody has"),
    ("read", "See what operators see"),
    ("operate", "Every verb"),
    ("audit", "Read the audit"),
]


class DeploymentAnswer(Body):
    demonstration = serializers.BooleanField()
    version = serializers.CharField()
    public_url = serializers.URLField()
    intervals = serializers.DictField(child=serializers.FloatField(), help_text="Seconds, by name")


class NewSubscriber(Body):
    phone = serializers.CharField(max_length=64)
    country = serializers.RegexField(r"\A[A-Z]{2}\Z", required=False, help_text="ISO 3166; usually the number's own")
    carrier = serializers.RegexField(r"\A\d{3}-\d{2,3}\Z", required=False, help_text="MCC-MNC, such as 262-03")
    kind = serializers.ChoiceField(required=False, choices=SUBSCRIBER_KIND)
    name = serializers.CharField(required=False, max_length=100, allow_blank=True)
    traits = serializers.DictField(required=False)


class SubscribersBody(ReasonBody):
    subscribers = serializers.ListField(child=NewSubscriber(), min_length=1, max_length=1000)


class ImportedAnswer(Body):
    subscribers = serializers.DictField(child=serializers.UUIDField(), help_text="Ids by the numbers as they were sent")


class DeviceShown(Body):
    id = serializers.UUIDField()
    label = serializers.CharField()  # type: ignore[assignment]
    platform = serializers.CharField()
    app_version = serializers.CharField()
    os_version = serializers.CharField()
    device_class = serializers.CharField()
    network_class = serializers.CharField(allow_blank=True)
    seen_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)


class GrantShown(Body):
    id = serializers.IntegerField()
    feature = serializers.CharField(source="feature.key")
    source = serializers.CharField()  # type: ignore[assignment]
    state = serializers.CharField()
    depth = serializers.IntegerField()
    granted_at = serializers.DateTimeField()


class SubscriberAnswer(serializers.ModelSerializer[Subscriber]):
    class Meta:
        model = Subscriber
        fields = ("id", "name", "country", "carrier", "kind", "language", "traits", "accepts_invites", "joined_at")


class SubscriberDetailAnswer(SubscriberAnswer):
    devices = DeviceShown(many=True)
    grants = GrantShown(many=True)

    class Meta(SubscriberAnswer.Meta):
        fields = (*SubscriberAnswer.Meta.fields, "devices", "grants")  # type: ignore[assignment]


class KeyBody(ReasonBody):
    name = serializers.CharField(max_length=100, help_text="What it is for")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=SCOPES), min_length=1, max_length=len(SCOPES))
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class KeyAnswer(serializers.ModelSerializer[ApiKey]):
    scopes = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = ApiKey
        fields = ("id", "name", "prefix", "scopes", "created_by", "created_at", "expires_at", "revoked_at")


class NewKeyAnswer(KeyAnswer):
    key = serializers.CharField(help_text="In clear, this once")

    class Meta(KeyAnswer.Meta):
        fields = (*KeyAnswer.Meta.fields, "key")  # type: ignore[assignment]


class AuditAnswer(serializers.ModelSerializer[AuditEntry]):
    digest = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = ("id", "at", "actor_kind", "actor", "verb", "subject", "reason", "detail", "sequence", "digest")

    def get_digest(self, entry: AuditEntry) -> str | None:
        return bytes(entry.digest).hex() if entry.digest else None


class VerifyAnswer(Body):
    ok = serializers.BooleanField()
    entries = serializers.IntegerField(help_text="Entries that were checked")
    unsealed = serializers.IntegerField(help_text="Entries that wait for the sealer")
    bad = serializers.IntegerField(allow_null=True, help_text="Sequence of the first entry that is wrong")
    words = serializers.CharField()


class OutboxAnswer(Body):
    waiting = serializers.IntegerField(help_text="Due and not delivered yet")
    later = serializers.IntegerField(help_text="Not due yet")
    failing = serializers.IntegerField(help_text="Waiting, after at least one attempt")
    delivered = serializers.IntegerField()
    by_kind = serializers.DictField(child=serializers.IntegerField(), help_text="Waiting rows")
    oldest_due_at = serializers.DateTimeField(allow_null=True)


class CallAnswer(Body):
    """A call without content and without numbers."""

    id = serializers.UUIDField()
    feature = serializers.CharField()
    area = serializers.CharField()
    media = serializers.CharField()
    activating = serializers.BooleanField()
    state = serializers.CharField()
    reason = serializers.CharField()
    cause = serializers.CharField()
    created_at = serializers.DateTimeField()
    rang_at = serializers.DateTimeField(allow_null=True)
    accepted_at = serializers.DateTimeField(allow_null=True)
    connected_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    setup_ms = serializers.IntegerField(allow_null=True, help_text="From the invite to both ends connected")


class StandingShown(Body):
    tone = serializers.CharField(help_text="moving, steady, waiting, held or stopped")
    verdict = serializers.CharField()
    next = serializers.CharField()
    needs_person = serializers.BooleanField()


class HeadcountShown(Body):
    """How many people have the feature while it is on, by their decisions."""

    people = serializers.IntegerField(help_text="How many have it; an estimate unless everybody was looked at")
    having = serializers.IntegerField(help_text="How many of those looked at have it")
    looked_at = serializers.IntegerField()
    of = serializers.IntegerField(help_text="How many people there are")
    exact = serializers.BooleanField(help_text="Whether `of` was counted, or estimated")
    at = serializers.DateTimeField(help_text="When it was counted")


class FeatureStanding(Body):
    key = serializers.CharField()
    name = serializers.CharField()
    switch = serializers.CharField()
    access = serializers.CharField()
    headcount = HeadcountShown(allow_null=True, help_text="Null until it was counted")
    grants = serializers.IntegerField(help_text="People with a live grant; grants decide only where access is granted")
    subscribers = serializers.IntegerField()
    running_calls = serializers.IntegerField()
    sources = serializers.DictField(child=serializers.IntegerField())
    growth = serializers.ListField(child=serializers.IntegerField(), help_text="Grants, minute by minute, 30 minutes")
    windows = serializers.ListField(child=serializers.IntegerField(), help_text="Ids of the open windows")
    waves = serializers.ListField(child=serializers.IntegerField(), help_text="Ids of the open waves")
    standing = StandingShown()


class AreaStanding(Body):
    key = serializers.CharField()
    name = serializers.CharField()
    state = serializers.CharField()
    calls = serializers.IntegerField(allow_null=True)
    capacity_calls = serializers.IntegerField()
    load_ppm = serializers.IntegerField(allow_null=True)
    allowance = serializers.IntegerField()
    standing = StandingShown()


class CallsShown(Body):
    running = serializers.IntegerField()
    placed = serializers.IntegerField(help_text="In the last 15 minutes")
    connected = serializers.IntegerField(help_text="In the last 15 minutes")
    setup_p50_ms = serializers.IntegerField(allow_null=True)
    setup_p95_ms = serializers.IntegerField(allow_null=True)
    endings = serializers.DictField(child=serializers.IntegerField())


class OverviewAnswer(Body):
    at = serializers.DateTimeField()
    needs_person = serializers.ListField(child=serializers.CharField())
    calls = CallsShown()
    features = FeatureStanding(many=True)
    areas = AreaStanding(many=True)
    outbox_waiting = serializers.IntegerField()


class Explained(Body):
    id = serializers.UUIDField()
    name = serializers.CharField()
    accepts_invites = serializers.BooleanField()


class ExplainAnswer(Body):
    """The decision, its cause in words, each step, and what stands around it."""

    subscriber = Explained()
    feature = serializers.CharField()
    at = serializers.DateTimeField()
    ruleset = serializers.IntegerField(help_text="Version of the ruleset that decided")
    enabled = serializers.BooleanField()
    value = serializers.JSONField()
    variant = serializers.CharField()
    reason = serializers.CharField(help_text="OpenFeature's reason")
    cause = serializers.CharField()
    words = serializers.CharField()
    detail = serializers.DictField()
    trace = serializers.ListField(child=serializers.DictField())
    traits = serializers.DictField()
    bucket = serializers.IntegerField(allow_null=True, help_text="0 to 999,999")
    grant = serializers.DictField(allow_null=True)
    waves = serializers.ListField(child=serializers.DictField())
    windows = serializers.ListField(child=serializers.DictField())
    refusals = serializers.ListField(
        child=serializers.DictField(), help_text="The last refused invites, with the exact cause"
    )
