"""Who people are: subscribers, their devices and keys, and the credentials of phones and backends."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from controlplane.accounts.ids import uuid7
from controlplane.accounts.rules.traits import DeviceClass, NetworkClass, Platform, SubscriberKind
from controlplane.base.wording import labelled

SUBSCRIBER_KIND = labelled(SubscriberKind)
PLATFORM = labelled(Platform)
DEVICE_CLASS = labelled(DeviceClass)
NETWORK_CLASS = labelled(NetworkClass)


class Subscriber(models.Model):
    """A person (or business) with a number. The number itself stands only as a keyed hash and sealed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    phone_hash = models.BinaryField(unique=True)
    phone_sealed = models.BinaryField()
    name = models.CharField(max_length=100, blank=True, default="", db_default="")
    country = models.CharField(max_length=2, help_text="ISO 3166, from the phone number unless set")
    carrier = models.CharField(max_length=7, blank=True, default="", help_text="MCC-MNC, such as 262-03")
    kind = models.CharField(max_length=8, choices=SUBSCRIBER_KIND, default=SubscriberKind.PERSON.value)
    language = models.CharField(max_length=16, blank=True, default="")
    traits = models.JSONField(default=dict, blank=True)
    accepts_invites = models.BooleanField(default=True, help_text="Whether a call may turn a feature on for them")
    token_epoch = models.PositiveIntegerField(default=0)
    joined_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["country", "carrier"], name="subscriber_by_place")]

    def __str__(self) -> str:
        return self.name or str(self.id)


class DeviceQuerySet(models.QuerySet["Device"]):
    def live(self) -> DeviceQuerySet:
        return self.filter(revoked_at__isnull=True)


class Device(models.Model):
    """One phone or browser of a subscriber. The phone draws the id itself, so that its first list can hold it."""

    id = models.UUIDField(primary_key=True, editable=False)
    subscriber = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="devices")
    platform = models.CharField(max_length=16, choices=PLATFORM)
    app_version = models.CharField(max_length=64)
    os_version = models.CharField(max_length=64, blank=True, default="")
    device_class = models.CharField(max_length=8, choices=DEVICE_CLASS, default=DeviceClass.MID.value)
    network_class = models.CharField(max_length=4, choices=NETWORK_CLASS, blank=True, default="")
    label = models.CharField(max_length=64, blank=True, default="")
    push_service = models.CharField(max_length=16, blank=True, default="")
    push_token_sealed = models.BinaryField(null=True)
    ed25519 = models.BinaryField()
    x25519 = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True)

    objects = DeviceQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["subscriber"], name="device_live", condition=models.Q(revoked_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.label or f"{self.platform} {self.app_version}"


class DeviceList(models.Model):
    """One epoch of a subscriber's signed device list; rows are only added."""

    subscriber = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="device_lists")
    epoch = models.PositiveIntegerField()
    body = models.BinaryField(help_text="Canonical JSON, exactly as signed")
    signature = models.BinaryField()
    account_key = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["subscriber", "epoch"], name="one_device_list_per_epoch")]

    def __str__(self) -> str:
        return f"{self.subscriber_id} epoch {self.epoch}"


class Block(models.Model):
    """`blocker` is never rung by `blocked`, who can't tell it from a number that nobody has."""

    blocker = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="blocks")
    blocked = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="blocked_by")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["blocker", "blocked"], name="one_block_per_pair")]

    def __str__(self) -> str:
        return f"{self.blocker_id} blocks {self.blocked_id}"


class OneTimeCode(models.Model):
    """A challenge sent to a number: only a keyed hash of the code stands here."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    phone_hash = models.BinaryField(db_index=True)
    phone_sealed = models.BinaryField()
    country = models.CharField(max_length=2)
    code_hash = models.BinaryField()
    tries = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    spent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(tries__lte=5), name="at_most_five_tries")]

    def __str__(self) -> str:
        return str(self.id)


class LimitUse(models.Model):
    """How often something was used up since its period began. It stands here, since Redis may forget at any time."""

    limit = models.CharField(max_length=32)
    subject = models.BinaryField(help_text="Keyed hash of a number, a number block or a client's address")
    started_at = models.DateTimeField()
    used = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["limit", "subject"], name="one_count_per_limit_and_subject")]
        indexes = [models.Index(fields=["started_at"], name="limit_use_by_age")]

    def __str__(self) -> str:
        return f"{self.limit}: {self.used}"


class RefreshToken(models.Model):
    """A refresh token, hashed. Each is spent once; spending one twice ends its device."""

    id = models.BigAutoField(primary_key=True)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="refresh_tokens")
    digest = models.BinaryField(unique=True)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    spent_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"refresh token {self.id}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def live(self, now: datetime) -> ApiKeyQuerySet:
        return self.filter(revoked_at__isnull=True).exclude(expires_at__lte=now)


class ApiKey(models.Model):
    """A backend's or script's key: 256 random bits, of which only the SHA-256 stands here."""

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, help_text="The first characters, to tell keys apart")
    digest = models.BinaryField(unique=True)
    scopes = ArrayField(models.CharField(max_length=32), help_text="evaluate, read, operate, audit")
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    maker = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="made")

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
