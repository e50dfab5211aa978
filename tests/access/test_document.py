"""The published document against the web: schemathesis asks every operation what its schema says, and what it doesn't.

The short form: each boundary of each parameter and member once, by a fixed seed. Nothing may answer 5xx, with a status
or a form that isn't documented, take what the document excludes, or know a method that it doesn't declare.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.db import connection
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from controlplane.base.env import ROOT
from rollout.actions import rulesets
from rollout.models import Audience
from tests import builders
from tests.builders import NOON
from tests.journeys.signaling import token_of
from tests.operators import TESTS
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 30  # a quiet machine needs less; a busy one asks less
PHASES = ("examples", "coverage", "fuzzing", "stateful")
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
          "response_headers_conformance", "negative_data_rejection", "unsupported_method")  # fmt: skip


def asked_from_here(environ: dict[str, Any], start_response: Any) -> Any:
    """The web as a process on this machine sees it."""
    return APPLICATION({**environ, "REMOTE_ADDR": "127.0.0.1"}, start_response)


APPLICATION = get_wsgi_application()


def told_apart(headers: dict[str, str], include: str) -> Iterator[str]:
    """Each failed check, in words: what was asked, and what is wrong with the answer."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 6,
            "max-time": SECONDS,
            "workers": 1,
            "continue-on-failure": True,
            "headers": headers,
            "parameters": {"path.key": cast.CALLS},
            "generation": {"mode": "all", "max-examples": 1},
            "checks": {"enabled": False, **{name: {"enabled": True} for name in CHECKS}},
            "phases": {
                name: {"enabled": name == "coverage"} for name in ("examples", "coverage", "fuzzing", "stateful")
            },
        }
    )
    schema = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.yaml", config=config)
    schema.app = asked_from_here
    asked = 0
    for event in from_schema(schema.include(path_regex=include)).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if not isinstance(event, events.ScenarioFinished):
            continue
        asked += len(event.recorder.cases)
        for id, checks in event.recorder.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    case = event.recorder.cases[id].value
                    sent = {"query": case.query, "headers": case.headers, "body": case.body}
                    yield f"{case.method} {case.formatted_path} {sent}: {check.failure_info.failure.message}"
    assert asked > 100


@pytest.fixture
def deployment() -> Iterator[cast.Launch]:
    stage = cast.launch()
    rulesets.publish(TESTS, NOON)
    Audience.objects.create(key=cast.CALLS, name="Of the same key", any_of=[])
    yield stage
    with connection.cursor() as cursor:  # schemathesis asks from threads of its own, whose connections stay
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                       " AND datname = current_database()")  # fmt: skip


def test_operators_operations__asked_by_the_document__answer_as_it_says(deployment: cast.Launch) -> None:
    key, _ = builders.api_key()

    assert "\n".join(told_apart({"X-API-Key": key}, "^/api/")) == ""


def test_phones_operations__asked_by_the_document__answer_as_it_says(deployment: cast.Launch) -> None:
    token = token_of(builders.device(deployment.alice))

    assert "\n".join(told_apart({"Authorization": f"Bearer {token}"}, "^/v1/(?!calls|signal|me/features)")) == ""
