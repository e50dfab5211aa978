"""Who may do what, by address: what is written here is what is meant, and the tests hold every process to it.

A line is a method and an address, as the process's own map of addresses spells it, and the least that it takes.
"""

from __future__ import annotations

from enum import StrEnum


class Caller(StrEnum):
    """Everybody who may come to a door, with what they carry."""

    ANONYMOUS = "anonymous"
    PHONE = "a phone's access token"
    EVALUATE = "an API key for evaluate"
    READ = "an API key for read"
    OPERATE = "an API key for operate"
    AUDIT = "an API key for audit"
    REVOKED = "a revoked API key"
    LEFT = "the session of an operator who was shut out"
    STAFF = "an operator without a role"
    VIEWER = "a viewer"
    OPERATOR = "an operator"
    AUDITOR = "an auditor"
    ADMIN = "an admin"


ROLES = frozenset({Caller.VIEWER, Caller.OPERATOR, Caller.AUDITOR, Caller.ADMIN})
ACTING = frozenset({Caller.OPERATOR, Caller.ADMIN})


class Least(StrEnum):
    """What an address takes at least."""

    NOTHING = "nothing"
    PHONE = "a phone"
    PHONE_OR_EVALUATE = "a phone, or the scope evaluate"
    READ = "the scope read"
    OPERATE = "the scope operate"
    AUDIT = "the scope audit"
    STAFF = "a sign-in to the console"
    VIEWER = "any role"
    OPERATOR = "a role that acts"
    AUDITOR = "the role auditor"
    ADMIN = "the role admin"
    NOBODY = "nobody may"


MAY: dict[Least, frozenset[Caller]] = {
    Least.NOTHING: frozenset(Caller),
    Least.PHONE: frozenset({Caller.PHONE}),
    Least.PHONE_OR_EVALUATE: frozenset({Caller.PHONE, Caller.EVALUATE}),
    Least.READ: frozenset({Caller.READ, Caller.OPERATE}),
    Least.OPERATE: frozenset({Caller.OPERATE}),
    Least.AUDIT: frozenset({Caller.AUDIT}),
    Least.STAFF: ROLES | {Caller.STAFF},
    Least.VIEWER: ROLES,
    Least.OPERATOR: ACTING,
    Least.AUDITOR: frozenset({Caller.AUDITOR, Caller.ADMIN}),
    Least.ADMIN: frozenset({Caller.ADMIN}),
    Least.NOBODY: frozenset(),
}

WEB: dict[Least, str] = {
    Least.NOTHING: """
        ANY  healthz
        ANY  readyz
        ANY  metrics
        ANY  /
        ANY  console/login/
        ANY  console/logout/
        GET  api/schema
        GET  api/docs
        POST v1/registration
        POST v1/registration/verify
        POST v1/tokens/refresh
        POST v1/tokens/revoke
    """,
    Least.PHONE: """
        GET PUT    v1/device-list
        GET PATCH DELETE v1/me
        PATCH      v1/me/device
        GET        v1/me/devices
        PATCH DELETE v1/me/devices/<uuid:device>
        PUT DELETE v1/me/blocks/<uuid:subscriber>
    """,
    Least.READ: """
        GET  api/deployment
        GET  api/overview
        GET  api/explain
        GET  api/features
        GET  api/features/<str:key>
        GET  api/features/<str:key>/invite-tree
        POST api/features/<str:key>/preview
        GET  api/audiences
        GET  api/audiences/<str:key>
        POST api/audiences/<str:key>/preview
        POST api/preview
        GET  api/export
        GET  api/rulesets
        GET  api/rulesets/<int:version>
        GET  api/rulesets/<int:a>/diff/<int:b>
        GET  api/windows
        GET  api/windows/<int:id>
        GET  api/waves
        GET  api/waves/<int:id>
        GET  api/areas
        GET  api/areas/<str:key>
        GET  api/areas/<str:key>/decisions
        GET  api/areas/<str:key>/measurements
        GET  api/grants
        GET  api/subscribers
        GET  api/subscribers/<str:named>
        GET  api/calls/<uuid:id>
        GET  api/keys
        GET  api/keys/<int:id>
        GET  api/outbox
    """,
    Least.AUDIT: """
        GET  api/audit
        GET  api/audit/verify
    """,
    Least.OPERATE: """
        POST  api/features
        PATCH api/features/<str:key>
        POST  api/features/<str:key>/on
        POST  api/features/<str:key>/off
        POST  api/features/<str:key>/kill
        POST  api/features/<str:key>/unkill
        POST  api/features/<str:key>/launch
        POST  api/features/<str:key>/access
        POST  api/audiences
        PATCH DELETE api/audiences/<str:key>
        POST  api/import
        POST  api/rulesets/<int:version>/restore
        POST  api/windows
        POST  api/windows/<int:id>/open
        POST  api/windows/<int:id>/close
        POST  api/waves
        POST  api/waves/<int:id>/open
        POST  api/waves/<int:id>/hold
        POST  api/waves/<int:id>/resume
        POST  api/areas
        PATCH api/areas/<str:key>
        POST  api/grants
        POST  api/grants/<int:id>/revoke
        POST  api/grants/<int:id>/freeze
        POST  api/grants/<int:id>/thaw
        POST  api/subscribers
        DELETE api/subscribers/<str:named>
        POST  api/subscribers/<str:named>/recycle
        POST  api/subscribers/<str:named>/devices/<uuid:device>/revoke
        POST  api/keys
        POST  api/keys/<int:id>/revoke
    """,
    Least.STAFF: """
        ANY  console/search/
        ANY  console/password_change/
        ANY  console/password_change/done/
        ANY  console/jsi18n/
        ANY  console/r/<path:content_type_id>/<path:object_id>/
        ANY  console/<app_label>
        ANY  console/<url>
    """,
    Least.VIEWER: """
        ANY  console/
        ANY  console/panel/<str:kind>/<int:id>/
        GET  console/autocomplete/
        ANY  console/explain/
        ANY  console/tree/
    """,
    Least.OPERATOR: """
        ANY  console/do/<str:kind>/<int:id>/<str:verb>/
        ANY  console/grant/
        ANY  console/keys/new/
    """,
}
# Of each kind of row in the console: who may look, add, change, delete.
ROWS: dict[str, tuple[Least, Least, Least, Least]] = {
    "accounts/subscriber": (Least.VIEWER, Least.NOBODY, Least.NOBODY, Least.NOBODY),
    "accounts/apikey": (Least.OPERATOR, Least.NOBODY, Least.NOBODY, Least.NOBODY),
    "auth/user": (Least.ADMIN, Least.ADMIN, Least.ADMIN, Least.NOBODY),
    "auth/group": (Least.ADMIN, Least.NOBODY, Least.NOBODY, Least.NOBODY),
    "audit/auditentry": (Least.AUDITOR, Least.NOBODY, Least.NOBODY, Least.NOBODY),
    "outbox/outbox": (Least.VIEWER, Least.NOBODY, Least.NOBODY, Least.NOBODY),
    "rollout/feature": (Least.VIEWER, Least.OPERATOR, Least.OPERATOR, Least.NOBODY),
    "rollout/audience": (Least.VIEWER, Least.OPERATOR, Least.OPERATOR, Least.OPERATOR),
    "rollout/ruleset": (Least.VIEWER, Least.NOBODY, Least.NOBODY, Least.NOBODY),
    "rollout/window": (Least.VIEWER, Least.OPERATOR, Least.NOBODY, Least.NOBODY),
    "rollout/wave": (Least.VIEWER, Least.OPERATOR, Least.NOBODY, Least.NOBODY),
    "rollout/area": (Least.VIEWER, Least.OPERATOR, Least.OPERATOR, Least.NOBODY),
    "rollout/grant": (Least.VIEWER, Least.NOBODY, Least.NOBODY, Least.NOBODY),
    "calls/callrecord": (Least.VIEWER, Least.NOBODY, Least.NOBODY, Least.NOBODY),
}

EDGE: dict[Least, str] = {
    Least.NOTHING: """
        GET  /
        GET  /phone
        GET  /phone/{path}
        GET  /healthz
        GET  /readyz
        GET  /metrics
        GET  /v1/signal
        ANY  /ofrep/v1/events
        ANY  /ofrep/v1/evaluate/flags
        ANY  /ofrep/v1/evaluate/flags/{key}
        ANY  /v1/me/features
        ANY  /v1/{path}
        OPTIONS /ofrep/v1/events
        OPTIONS /ofrep/v1/evaluate/flags
        OPTIONS /ofrep/v1/evaluate/flags/{key}
        OPTIONS /v1/me/features
    """,
    Least.PHONE: """
        POST /v1/calls
        POST /v1/calls/prepare
        GET  /v1/calls/inbox
        POST /v1/calls/inbox/ack
        GET  /v1/calls/{call}
        GET  /v1/calls/{call}/turn
        POST /v1/calls/{call}/{op}
        GET  /v1/me/features
    """,
    Least.PHONE_OR_EVALUATE: """
        POST /ofrep/v1/evaluate/flags
        POST /ofrep/v1/evaluate/flags/{key}
    """,
    # But for the pass in the address that an answer to one of these gave.
    Least.NOBODY: """
        GET  /ofrep/v1/events
    """,
}


def lines(table: dict[Least, str]) -> dict[tuple[str, str], Least]:
    """What each method of each address takes."""
    found: dict[tuple[str, str], Least] = {}
    for least, text in table.items():
        for line in filter(None, map(str.strip, text.splitlines())):
            *methods, address = line.split()
            for method in methods:
                assert (method, address) not in found, f"{method} {address} stands twice"
                found[method, address] = least
    return found


def web() -> dict[tuple[str, str], Least]:
    """The web's table, with the pages of each kind of row."""
    found = lines(WEB)
    for kind, (look, add, change, delete) in ROWS.items():
        thing = f"console/{kind}/<path:object_id>"
        found |= {
            ("ANY", f"console/{kind}/"): look,
            ("ANY", f"console/{kind}/add/"): add,
            ("ANY", f"{thing}/history/"): look,
            ("ANY", f"{thing}/delete/"): delete,
            ("GET", f"{thing}/change/"): look,
            ("POST", f"{thing}/change/"): change,
            ("ANY", f"{thing}/"): Least.STAFF,  # only leads to the page that asks
        }
    return found | {("ANY", "console/auth/user/<id>/password/"): Least.ADMIN}
