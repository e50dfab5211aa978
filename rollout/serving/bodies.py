"""What is asked and answered below /ofrep/v1 and /v1/me/features: declared for the published document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Value = bool | str | int | float | dict[str, Any]
Metadata = dict[str, str | int | float | bool]
REFERENCE = "#/components/schemas/{name}"
# msgspec reads no union of two objects that bear no tag.
EITHER = {"anyOf": [{"$ref": REFERENCE.format(name=name)} for name in ("Evaluation", "EvaluationFailure")]}


class EvaluationContext(Struct, rename="camel"):
    """Who the flags are for. Further members are traits; what the server knows of a person counts more."""

    targeting_key: Annotated[str, Meta(max_length=256, description="a subscriber's id, or any unit")] | UnsetType = (
        UNSET
    )


class EvaluationRequest(Struct):
    context: EvaluationContext | UnsetType = UNSET


class Evaluation(Struct):
    """One flag's value, with why it is so."""

    key: str
    value: Value
    reason: Annotated[str, Meta(description="one of OpenFeature's reasons")]
    variant: str
    metadata: Annotated[Metadata, Meta(description="`cause` says more precisely why; waves and windows what is next")]


class EvaluationFailure(Struct, rename="camel"):
    """No value: the client's default counts. Refusals have the members of problem details beside these."""

    error_code: str
    key: str | UnsetType = UNSET
    error_details: str | UnsetType = UNSET


class EventStream(Struct, rename="camel"):
    """Where a client hears that it should evaluate again."""

    type: Literal["sse"]
    url: str
    inactivity_delay_sec: Annotated[int, Meta(description="seconds after which a hidden page should hang up")]


class Evaluations(Struct, rename="camel"):
    """All flags that the asker may see."""

    flags: list[Annotated[dict[str, Any], Meta(extra_json_schema=EITHER)]]
    event_streams: list[EventStream]
    metadata: Annotated[Metadata, Meta(description="`ruleset`: the number of the ruleset that decided")]


class Refetch(Struct, rename="camel"):
    """The data of a server-sent event."""

    type: Literal["refetchEvaluation"]
    etag: str
    last_modified: Annotated[int, Meta(description="epoch seconds")]


class Standing(Struct):
    """What stands between this person and the feature."""

    wave: str | UnsetType = UNSET
    wave_position: int | UnsetType = UNSET
    wave_state: str | UnsetType = UNSET
    invite: str | UnsetType = UNSET


class Invites(Struct):
    """How many people this person may still bring in; `left` is null while it can't be told."""

    left: int | None
    next_at: str | None
    words: str
    quota: int | UnsetType = UNSET
    closes_at: str | int | UnsetType | None = UNSET


class MyFeature(Struct):
    """A feature as its owner may know of it."""

    key: str
    value: Value
    variant: str
    enabled: bool
    reason: str
    cause: str
    words: Annotated[str, Meta(description="the cause in a whole sentence")]
    standing: Standing
    invites: Annotated[Invites | None, Meta(description="null without the feature")]


class MyFeatures(Struct):
    features: list[MyFeature]
    ruleset: int
    server_time: Annotated[int, Meta(description="epoch milliseconds")]
