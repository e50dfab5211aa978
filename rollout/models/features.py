"""What can be switched on, for whom, and the signed rulesets that say so."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from rollout.models import labels
from rollout.rules.bulk.headcount import Headcount as HeadcountValue
from rollout.rules.definition.feature import Access, FeatureKind, Switch
from rollout.rules.definition.reading import KEY_PATTERN, KEY_WORDS


class Feature(models.Model):
    """Something an operator can switch on for people. `variants` maps names to values of the feature's kind."""

    key = models.CharField(max_length=64, unique=True, validators=[RegexValidator(KEY_PATTERN, f"Use {KEY_WORDS}")])
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    owner = models.CharField(max_length=100, blank=True, default="")
    tags = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    kind = models.CharField(max_length=8, choices=labels.FEATURE_KIND, default=FeatureKind.BOOLEAN.value)
    salt = models.CharField(max_length=32, editable=False)
    switch = models.CharField(max_length=8, choices=labels.SWITCH, default=Switch.OFF.value)
    killed_from = models.CharField(
        max_length=8,
        choices=labels.SWITCH,
        blank=True,
        default="",
        editable=False,
        help_text="What un-killing restores",
    )
    access = models.CharField(max_length=8, choices=labels.ACCESS, default=Access.GRANTED.value)
    requirements = models.JSONField(default=dict, blank=True)
    prerequisites = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    rules = models.JSONField(default=list, blank=True)
    variants = models.JSONField(default=dict, blank=True)
    default_variant = models.CharField(max_length=64, default="on")
    off_variant = models.CharField(max_length=64, default="off")
    visible_to_phones = models.BooleanField(default=False)
    stop_calls_before = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Calls that began before this are ended"
    )
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class Headcount(models.Model):
    """How many people have a feature while it is on, as the worker counted last, by which ruleset.

    Small deployments count when somebody asks, and have no rows.
    """

    feature = models.OneToOneField(Feature, on_delete=models.CASCADE, primary_key=True, related_name="headcount")
    having = models.PositiveBigIntegerField()
    looked_at = models.PositiveBigIntegerField()
    of = models.PositiveBigIntegerField()
    exact = models.BooleanField()
    ruleset = models.BigIntegerField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.feature_id}: {self.having} of {self.looked_at}"

    def as_value(self) -> HeadcountValue:
        return HeadcountValue(self.having, self.looked_at, self.of, self.exact, self.at)


class Audience(models.Model):
    """A reusable set of people: ANY of several lists of clauses, each list joined by AND."""

    key = models.CharField(max_length=64, unique=True, validators=[RegexValidator(KEY_PATTERN, f"Use {KEY_WORDS}")])
    name = models.CharField(max_length=100)
    any_of = models.JSONField(default=list, blank=True, help_text="[[clause, clause], [clause]]")
    revision = models.PositiveIntegerField(default=1, db_default=1, editable=False)

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class Ruleset(models.Model):
    """One published version of all features and audiences: canonical JSON and its Ed25519 signature. Never changed."""

    version = models.BigAutoField(primary_key=True)
    body = models.BinaryField()
    signature = models.BinaryField()
    key_id = models.CharField(max_length=16)
    published_at = models.DateTimeField()
    published_by = models.CharField(max_length=150)
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["-version"]

    def __str__(self) -> str:
        return f"ruleset {self.version}"
