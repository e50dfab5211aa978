"""Clauses in the bodies of the operators' REST."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

CLAUSES = {
    "type": "array",
    "items": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
    "description": "Any of several lists of clauses, each list joined by AND: "
    '[[{"trait": "country", "operator": "IN", "values": ["DE"]}]]. An empty list means everybody.',
}


@extend_schema_field(CLAUSES)
class AnyOf(serializers.ListField):
    """The clauses themselves are read by the rules, which say what is wrong with them."""

    child = serializers.ListField(child=serializers.DictField(), max_length=64)


@extend_schema_field(CLAUSES)
class AnyOfShown(serializers.JSONField):
    """Clauses, as they stand."""
