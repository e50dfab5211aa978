"""OpenFeature's official OFREP provider of Python, unchanged, against a real edge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from rollout.rules.limits import PHONE_DECISIONS_PER_SECOND
from tests.providers.process import VALUES, Scene


@pytest.fixture(autouse=True)
def _no_provider_stays() -> Iterator[None]:
    yield
    api.shutdown()
    api.clear_providers()


def client_with(scene: Scene, headers: dict[str, str]) -> OpenFeatureClient:
    api.set_provider(OFREPProvider(scene.url, headers_factory=lambda: headers))
    return api.get_client()


def test_python_provider__five_types__come_with_value_variant_and_reason(scene: Scene) -> None:
    client = client_with(scene, scene.backend)
    asks = {
        "boolean": lambda key: client.get_boolean_details(key, None),
        "string": lambda key: client.get_string_details(key, "x"),
        "integer": lambda key: client.get_integer_details(key, -1),
        "float": lambda key: client.get_float_details(key, -1.5),
        "object": lambda key: client.get_object_details(key, {"x": 1}),
    }

    for kind, ask in asks.items():
        on, off = ask(f"a.{kind}"), ask(f"b.{kind}")

        assert (on.error_code, off.error_code) == (None, None)
        assert (on.value, on.variant, on.reason) == (VALUES[kind]["on"], "on", Reason.STATIC)
        assert (off.value, off.variant, off.reason) == (VALUES[kind]["off"], "off", Reason.DISABLED)
        assert on.flag_metadata["cause"] == "launched"


def test_python_provider__context__decides_and_none_at_all_works(scene: Scene) -> None:
    client = client_with(scene, scene.backend)

    german = client.get_boolean_details("german", False, EvaluationContext("u1", {"country": "DE"}))
    other = client.get_boolean_details("german", True, EvaluationContext("u1", {"country": "US"}))
    nobody = client.get_boolean_details("german", True)

    assert (german.value, german.reason, german.flag_metadata["rule"]) == (True, Reason.TARGETING_MATCH, "Germans")
    assert (other.value, other.reason) == (False, Reason.DEFAULT)
    assert nobody.value is False


def test_python_provider__phones_token__is_about_its_bearer(scene: Scene) -> None:
    values = {}
    for name in ("alice", "bob"):
        client = client_with(scene, scene.phone(name))
        values[name] = client.get_boolean_value("voice-calls", False, EvaluationContext("somebody else"))

    assert values == {"alice": True, "bob": False}


def test_python_provider__errors__have_their_codes_and_give_the_callers_default(scene: Scene) -> None:
    backend = client_with(scene, scene.backend)
    absent = backend.get_boolean_details("absent", True)
    wrong_type = backend.get_string_details("a.boolean", "mine")
    bad = backend.get_boolean_details("a.boolean", False, EvaluationContext("x" * 300))
    phone = client_with(scene, scene.phone("alice"))
    hidden = phone.get_boolean_details("hidden", False)
    stranger = client_with(scene, {"X-API-Key": "rk_nobody"}).get_boolean_details("a.boolean", False)

    assert (absent.value, absent.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
    assert (wrong_type.value, wrong_type.error_code) == ("mine", ErrorCode.TYPE_MISMATCH)
    assert (bad.value, bad.error_code) == (False, ErrorCode.INVALID_CONTEXT)
    assert (hidden.value, hidden.error_code) == (False, ErrorCode.FLAG_NOT_FOUND)
    assert (stranger.value, stranger.error_code) == (False, ErrorCode.GENERAL)


def test_python_provider__asked_too_often__waits_as_long_as_it_was_told(scene: Scene) -> None:
    client = client_with(scene, scene.phone("bob"))
    details = [client.get_boolean_details("a.boolean", False) for _ in range(8 * PHONE_DECISIONS_PER_SECOND)]

    refused = next(each for each in details if each.error_code)

    assert refused.error_code is ErrorCode.GENERAL
    assert refused.error_message.startswith("Rate limited, retry after: 1")
    assert "paused due to TooManyRequests" in details[-1].error_message
