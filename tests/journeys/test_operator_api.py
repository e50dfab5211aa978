"""The operators' REST: every address, its refusals as problem details, and what each scope may do."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command

from calls.models import CallRecord
from controlplane.accounts.models import ApiKey, Subscriber
from controlplane.audit.models import AuditEntry
from rollout.models import Area, CallEvidence, Feature, Grant, Wave, Window
from tests import builders, operators
from tests.operators import Api

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def api():
    return Api()


def is_problem(answer, status, code):
    assert (answer.status_code, answer.told["code"]) == (status, code), answer.told
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.told["detail"].endswith((".", "…"))
    return True


def test_feature__from_birth_to_launch__obeys_every_verb(api):
    made = api.post("features", {"key": "video-calls", "name": "Video calls", "visible_to_phones": True})
    assert (made.status_code, made.told["switch"], made.told["grants"]) == (201, "off", 0)

    for verb, switch in [("on", "on"), ("off", "off"), ("on", "on"), ("kill", "killed"), ("unkill", "on")]:
        answer = api.post(f"features/video-calls/{verb}", {"reason": f"Trying {verb}."})
        assert (answer.status_code, answer.told["switch"]) == (200, switch), answer.told
    killed = api.post("features/video-calls/kill", {"end_calls": True})
    assert killed.told["stop_calls_before"] is not None
    api.post("features/video-calls/unkill", {"reason": "a test"})
    assert api.post("features/video-calls/access", {"access": "rules", "reason": "a test"}).told["access"] == "rules"
    assert api.post("features/video-calls/launch", {"reason": "a test"}).told["access"] == "everyone"

    assert [row["key"] for row in api.get("features").told["results"]] == ["video-calls"]
    reasons = AuditEntry.objects.filter(subject="feature:video-calls").values_list("reason", flat=True)
    assert "Trying kill." in reasons


def test_feature__killed__can_not_be_switched_on_by_the_way(api):
    operators.feature()
    api.post("features/voice-calls/kill")

    assert is_problem(api.post("features/voice-calls/on", {"reason": "a test"}), 409, "feature_killed")
    assert Feature.objects.get().switch == "killed"


def test_feature__changed_in_part__keeps_the_rest(api):
    operators.feature(description="By voice.")

    changed = api.patch("features/voice-calls", {"name": "Calls", "revision": Feature.objects.get().revision})

    assert (changed.told["name"], changed.told["description"]) == ("Calls", "By voice.")
    assert is_problem(api.patch("features/voice-calls", {"name": "X", "revision": 1}), 412, "changed_meanwhile")


@pytest.mark.parametrize("key", [".", ".."])
def test_key__that_no_address_can_hold__is_refused(api, key):
    for path, body in [("features", {"name": "F"}), ("audiences", {"any_of": []}), ("areas", {"capacity_calls": 1})]:
        answer = api.post(path, {**body, "key": key})

        assert is_problem(answer, 400, "bad_input")
        assert answer.told["path"] == "key"


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200f", "\x1b"])
def test_name__with_a_character_that_hides__is_refused_by_every_verb(api, hidden):
    operators.feature()
    name = f"Voice{hidden} calls"

    for path, body in [
        ("features", {"key": "f", "name": name}),
        ("audiences", {"key": "a", "name": name, "any_of": []}),
        ("areas", {"key": "A", "name": name, "capacity_calls": 1}),
        ("windows", {"feature": "voice-calls", "name": name}),
        ("waves", {"feature": "voice-calls", "name": name}),
        ("keys", {"name": name, "scopes": ["read"]}),
        ("subscribers", {"subscribers": [{"phone": "+4930123456", "name": name}]}),
    ]:
        assert "invisible character" in api.post(path, body).told["detail"], path
    rule = api.patch("features/voice-calls", {"rules": [{"name": name}]})
    assert (rule.status_code, rule.told["path"]) == (422, "rules[0].name")


def test_window__opened_and_closed__says_so_at_once(api):
    operators.feature()
    operators.area()
    terms = {"feature": "voice-calls", "name": "Test", "areas": ["DE"], "quota": 2, "depth_limit": 1, "test": True}

    opened = api.post("windows", {**terms, "open": True})
    assert (opened.status_code, opened.told["state"], opened.told["areas"]) == (201, "open", ["DE"])
    closed = api.post(f"windows/{opened.told['id']}/close", {"reason": "Enough."})

    assert closed.told["state"] == "closed"
    assert is_problem(api.post(f"windows/{opened.told['id']}/open"), 409, "window_not_openable")
    later = api.post("windows", terms).told
    assert (later["state"], api.post(f"windows/{later['id']}/open").told["state"]) == ("scheduled", "open")
    assert [row["id"] for row in api.get("windows?feature=voice-calls").told["results"]] == [
        later["id"],
        opened.told["id"],
    ]
    assert api.get("windows?feature=other").told["results"] == []


def test_window__that_can_not_open__is_not_even_made(api):
    operators.feature()

    answer = api.post("windows", {"feature": "voice-calls", "name": "T", "closes_at": "2001-01-01T00:00:00Z"})

    assert is_problem(answer, 400, "bad_input")
    assert answer.told["path"] == "closes_at"
    assert not Window.objects.exists()


def test_wave__opened_held_and_resumed__moves_through_its_states(api):
    operators.feature()
    clause = {"trait": "country", "operator": "IN", "values": ["DE"]}

    wave = api.post("waves", {"feature": "voice-calls", "name": "Android", "any_of": [[clause]], "share_ppm": 50_000})
    assert (wave.status_code, wave.told["state"], wave.told["position"]) == (201, "draft", 1)
    id = wave.told["id"]
    states = [api.post(f"waves/{id}/{verb}", {"reason": "r"}).told["state"] for verb in ("open", "hold", "resume")]

    assert states == ["open", "held", "open"]
    assert is_problem(api.post(f"waves/{id}/resume"), 409, "wave_not_movable")
    assert api.get(f"waves/{id}").told["any_of"] == [[clause]]
    assert [row["id"] for row in api.get("waves").told["results"]] == [id]


def test_area__made_and_changed__keeps_its_rules(api):
    made = api.post("areas", {"key": "262-03", "carriers": ["262-03"], "capacity_calls": 20, "tick_seconds": 2})
    assert (made.status_code, made.told["state"], made.told["calls"]) == (201, "unknown", None)

    changed = api.patch("areas/262-03", {"capacity_calls": 30, "reason": "A second relay."})

    assert changed.told["capacity_calls"] == 30
    assert is_problem(api.patch("areas/262-03", {"hold_above_ppm": 100}), 400, "bad_input")
    assert is_problem(api.post("areas", {"key": "262-03", "capacity_calls": 1}), 409, "area_exists")
    assert Area.objects.get().hold_above_ppm == 800_000
    assert api.get("areas/262-03/decisions").told == {"results": [], "next": None}
    assert api.get("areas/262-03/measurements").told == {"results": [], "next": None}
    assert api.get("areas").told["results"][0]["key"] == "262-03"


def test_people__imported__are_found_by_number_and_granted_once(api):
    operators.feature()
    numbers = ["+49 30 901820 50", "+493090182051"]
    made = api.post("subscribers", {"subscribers": [{"phone": n, "name": f"n{i}"} for i, n in enumerate(numbers)]})
    ids = made.told["subscribers"]
    assert set(ids) == set(numbers)

    first = api.post("grants", {"feature": "voice-calls", "subscribers": [numbers[0], ids[numbers[1]]]})
    again = api.post("grants", {"feature": "voice-calls", "subscribers": [numbers[0]]})

    assert (len(first.told["grants"]), first.told["already"]) == (2, [])
    assert again.told == {"grants": [], "already": [ids[numbers[0]]], "remark": ""}
    person = api.get(f"subscribers/{numbers[0].replace(' ', '')}").told
    assert [grant["source"] for grant in person["grants"]] == ["operator"]
    assert "phone" not in str(person)
    assert len(api.get("subscribers").told["results"]) == 2
    assert api.get("features/voice-calls").told["grants"] == 2
    revoked = api.post(f"grants/{first.told['grants'][0]}/revoke", {"reason": "A mistake."})
    assert revoked.told["state"] == "revoked"
    assert is_problem(api.post(f"grants/{first.told['grants'][0]}/revoke"), 409, "grant_not_live")
    assert [row["state"] for row in api.get("grants?feature=voice-calls").told["results"]].count("revoked") == 1


def test_grants__one_unknown_person__grant_nobody(api):
    operators.feature()
    known = builders.subscriber()

    answer = api.post("grants", {"feature": "voice-calls", "subscribers": [str(known.pk), str(uuid.uuid4())]})

    assert is_problem(answer, 404, "subscriber_unknown")
    assert answer.told["path"] == "subscribers[1]"
    assert not Grant.objects.exists()


def test_invite_tree__two_generations__is_nested_by_person(api):
    feature = operators.feature()
    operators.area()
    window = api.post("windows", {"feature": "voice-calls", "name": "W", "open": True}).told["id"]
    alice, bob, carol = (builders.subscriber(name=name) for name in ("alice", "bob", "carol"))
    root = Grant.objects.create(feature=feature, subscriber=alice, source="operator")
    terms = {"feature": feature, "source": "invite", "window_id": window, "root": root.pk}
    second = Grant.objects.create(subscriber=bob, parent=root, depth=1, call=uuid.uuid4(), **terms)
    Grant.objects.create(subscriber=carol, parent=second, depth=2, call=uuid.uuid4(), **terms)

    tree = api.get(f"features/voice-calls/invite-tree?root={alice.pk}").told

    assert (tree["name"], tree["below"], tree["children"][0]["name"]) == ("alice", 2, "bob")
    assert [child["name"] for child in tree["children"][0]["children"]] == ["carol"]
    assert is_problem(api.get("features/voice-calls/invite-tree"), 400, "bad_input")
    stranger = builders.subscriber()
    assert is_problem(api.get(f"features/voice-calls/invite-tree?root={stranger.pk}"), 404, "not_found")


def test_explain__before_and_after_a_grant__agrees_with_the_feature(api):
    operators.feature()
    person = builders.subscriber(name="bob")

    before = api.get(f"explain?subscriber={person.pk}&feature=voice-calls").told
    api.post("grants", {"feature": "voice-calls", "subscribers": [str(person.pk)]})
    after = api.get(f"explain?subscriber={person.pk}&feature=voice-calls").told

    assert (before["value"], before["cause"]) == (False, "waiting_for_launch")
    assert (after["value"], after["cause"]) == (True, "granted_by_operator")
    assert after["trace"][-1]["decided"]
    assert is_problem(api.get(f"explain?subscriber={person.pk}&feature=none"), 404, "feature_unknown")
    assert is_problem(api.get("explain?feature=voice-calls"), 400, "bad_input")


def test_overview__with_a_feature_and_an_area__has_words_for_both(api):
    operators.feature()
    operators.area()

    told = api.get("overview").told

    assert told["features"][0]["grants"] == 0
    assert told["features"][0]["standing"]["verdict"] == "On, but nobody holds it yet."
    assert told["areas"][0]["calls"] is None
    assert any("Grant the first people" in line for line in told["needs_person"])


def test_audit__after_a_change__is_listed_in_order_and_checked(api):
    operators.feature()

    first = api.get("audit?limit=1").told
    rest = api.get(first["next"].split("/api/")[1]).told
    checked = api.get("audit/verify").told

    assert first["results"][0]["verb"] == "feature.created"
    assert [row["verb"] for row in rest["results"]] == ["feature.switched_on"]
    assert checked["ok"] is True
    assert checked["unsealed"] + checked["entries"] >= 2


def test_device__that_was_lost__is_signed_out_by_an_operator_and_audited(api):
    person, stranger = builders.subscriber(), builders.subscriber()
    device = builders.device(person, label="Lost")
    place = f"devices/{device.pk}/revoke"

    told = api.post(f"subscribers/{person.pk}/{place}", {"reason": "Left in a taxi."}).told
    again = api.post(f"subscribers/{person.pk}/{place}", {"reason": "Left in a taxi."})
    of_another = api.post(f"subscribers/{stranger.pk}/devices/{builders.device(person).pk}/revoke", {"reason": "No."})

    assert (told["label"], told["revoked_at"] is not None) == ("Lost", True)
    assert is_problem(again, 404, "not_found")
    assert is_problem(of_another, 404, "not_found")
    last = api.get("audit?limit=1000").told["results"][-1]
    assert (last["verb"], last["subject"]) == ("device.revoked", f"subscriber:{person.pk}")
    assert (last["reason"], last["detail"]) == ("Left in a taxi.", {"device": str(device.pk)})


def test_keys__made_used_and_revoked__are_shown_once(api):
    made = api.post("keys", {"name": "backend", "scopes": ["read"]}).told
    listed = api.get("keys").told["results"]
    theirs = Api()
    theirs.key = made["key"]

    assert theirs.get("features").status_code == 200
    assert made["key"] not in str(listed)
    assert api.post(f"keys/{made['id']}/revoke").told["revoked_at"] is not None
    assert is_problem(theirs.get("features"), 401, "key_refused")


def test_call__in_the_journal__shows_its_set_up_time_and_no_person(api):
    id = uuid.uuid4()
    call = {"feature": "voice-calls", "area": "DE", "caller": b"a" * 32, "callee": b"b" * 32, "media": "audio"}
    CallRecord.objects.create(id=id, state="ended", reason="hangup", created_at=builders.NOON, **call)
    CallEvidence.objects.create(call=id, feature="voice-calls", area="DE", setup_ms=420, at=builders.NOON)

    told = api.get(f"calls/{id}").told

    assert (told["setup_ms"], told["reason"]) == (420, "hangup")
    assert not {"caller", "callee"} & set(told)
    assert is_problem(api.get(f"calls/{uuid.uuid4()}"), 404, "not_found")


def test_deployment_and_outbox__asked__answer(api):
    assert api.get("deployment").told["demonstration"] is True
    assert api.get("deployment").told["intervals"]["ring_seconds"] == 45
    assert api.get("outbox").told["waiting"] >= 0


BAD = [
    ("features", {"key": "Not A Key", "name": "x"}, "key"),
    ("features", {"key": "x"}, "name"),
    ("features", {"key": "x", "name": "x", "colour": "red"}, "colour"),
    ("features", {"key": "x", "name": "\u0000"}, "name"),
    ("features", [], ""),
    ("features", b"{", None),
    ("windows", {"feature": "voice-calls", "name": "x", "places": 0}, "places"),
    ("windows", {"feature": "voice-calls", "name": "x", "places": 10**30}, "places"),
    ("windows", {"feature": "voice-calls", "name": "x", "quota": -1}, "quota"),
    ("windows", {"feature": "voice-calls", "name": "x", "activate_on": "never"}, "activate_on"),
    ("waves", {"feature": "voice-calls", "name": "x", "share_ppm": 1_000_001}, "share_ppm"),
    ("waves", {"feature": "voice-calls", "name": "x", "any_of": [[{"trait": "country"}]]}, "any_of"),
    ("areas", {"key": "x"}, "capacity_calls"),
    ("areas", {"key": "x", "capacity_calls": 0}, "capacity_calls"),
    ("areas", {"key": "x", "capacity_calls": 1, "countries": ["Germany"]}, "countries[0]"),
    ("areas", {"key": "x", "capacity_calls": 1, "tick_seconds": 10, "stale_seconds": 1}, None),
    ("subscribers", {"subscribers": []}, "subscribers"),
    ("subscribers", {"subscribers": [{"phone": "hello"}]}, "subscribers[0].phone"),
    ("subscribers", {"subscribers": [{"phone": "+493090182077", "country": "de"}]}, "subscribers[0].country"),
    ("grants", {"feature": "voice-calls", "subscribers": ["x"]}, "subscribers"),
    ("keys", {"name": "k", "scopes": ["root"]}, "scopes[0]"),
]


@pytest.mark.parametrize(("path", "body", "place"), BAD, ids=[f"{b[0]}-{b[2]}-{i}" for i, b in enumerate(BAD)])
def test_bad_input__anywhere__is_refused_with_its_place_and_stores_nothing(api, path, body, place):
    operators.feature()
    models = (Feature, Window, Wave, Area, Subscriber, Grant, ApiKey, AuditEntry)
    before = [model.objects.count() for model in models]

    answer = api.post(path, body)

    assert 400 <= answer.status_code < 500
    assert answer["Content-Type"] == "application/problem+json"
    if place is not None:
        assert answer.told["path"].startswith(place)
    assert [model.objects.count() for model in models] == before


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("features/none", "feature_unknown"),
        ("windows/999", "not_found"),
        ("waves/999", "not_found"),
        ("areas/none", "not_found"),
        ("areas/none/decisions", "not_found"),
        (f"subscribers/{uuid.UUID(int=1)}", "subscriber_unknown"),
        ("nothing/here", "not_found"),
    ],
)
def test_unknown_thing__asked_for__is_a_problem(api, path, code):
    assert is_problem(api.get(path), 404, code)


VERBS = ["features/voice-calls/kill", "windows/1/close", "waves/1/hold", "grants/1/revoke", "keys/1/revoke"]
READS = ["features", "windows", "waves", "areas", "grants", "subscribers", "overview", "keys", "outbox", "deployment"]


@pytest.mark.parametrize("path", [*VERBS, "features", "areas", "grants", "subscribers", "keys", "windows", "waves"])
def test_reading_key__tries_to_act__is_refused(path):
    operators.feature()

    answer = Api("read").post(path, {})

    assert is_problem(answer, 403, "not_allowed")
    assert Feature.objects.get().switch == "on"


@pytest.mark.parametrize("path", READS)
def test_each_list__by_scope__is_open_to_readers_only(path):
    assert Api("read").get(path).status_code == 200
    assert Api("operate").get(path).status_code == 200
    assert is_problem(Api("evaluate").get(path), 403, "not_allowed")
    nobody = Api()
    nobody.key = "rk_wrong"
    assert is_problem(nobody.get(path), 401, "key_refused")


@pytest.mark.parametrize("path", ["audit", "audit/verify"])
def test_audit__is_open_to_keys_of_its_own_scope_only(path):
    assert Api("audit").get(path).status_code == 200
    assert is_problem(Api("read", "operate", "evaluate").get(path), 403, "not_allowed")


def test_without_a_key__everything_but_the_documentation__is_refused(client):
    answer = client.get("/api/features")

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert client.get("/api/docs").status_code == 200
    assert "swagger-ui" in client.get("/api/docs").content.decode()
    assert b"//cdn" not in client.get("/api/docs").content
    assert client.get("/api/schema").status_code == 200


def test_openapi_document__in_the_repository__is_current(tmp_path):
    written = tmp_path / "openapi.yaml"

    call_command("spectacular", file=str(written), validate=True, fail_on_warn=True)

    committed = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
    assert committed == yaml.safe_load(written.read_text(encoding="utf-8")), (
        "Run: manage.py spectacular --file docs/openapi.yaml"
    )


def test_grants__by_source__are_only_those(api):
    feature = operators.feature()
    people = [builders.subscriber(), builders.subscriber()]
    for person, source in zip(people, ("operator", "seed"), strict=True):
        Grant.objects.create(feature=feature, subscriber=person, source=source)

    asked = api.get("grants?source=operator").told["results"]
    refused = api.get("grants?source=nobody")

    assert [row["subscriber"] for row in asked] == [str(people[0].pk)]
    assert is_problem(refused, 400, "bad_input")
    assert refused.told["path"] == "source"
