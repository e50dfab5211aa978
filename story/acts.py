"""The acts of the story, in order. Each reads like what happens; what is claimed goes to the ledger."""

from __future__ import annotations

import time
from typing import Any

from story.progress import progress
from story.rest import my_features, ofrep, wait_until
from story.scene import CAPACITY, CROWD_PAIRS, FEATURE, Scene
from story.tones import seconds_of_tone

TALK_SECONDS = 4
ENOUGH_TONE = 3.0
UNKNOWN_TONE = 0.5


def tell(words: str) -> None:
    progress.say(f"\n{words}")


def heard(scene: Scene, name: str, recording: str, *, own: int, other: int) -> str:
    """Whose tone a recording holds, in words: the other's for 3 s, and one's own at most for a moment."""
    path = scene.phones[name].folder / recording
    theirs, mine = seconds_of_tone(path, other), seconds_of_tone(path, own)
    if theirs >= ENOUGH_TONE and mine <= UNKNOWN_TONE:
        return f"{'bob' if name == 'alice' else 'alice'} only"
    return f"the other's tone for {theirs} s, one's own for {mine} s"


def act_1_alice_alone(scene: Scene) -> None:
    tell("1. alice has calling, granted by the operator. bob, carol, dave, erin and 200 others do not.")
    scene.observe("1.alice_can_call", scene.can_call("alice"), "explain")
    refused = scene.call_refused("bob", "alice")
    scene.observe("1.bob_is_refused", refused["code"], f"bob's phone: {refused['detail']}")
    scene.note_erin()


def act_2_window_a(scene: Scene) -> None:
    tell("2. Window A opens for a test: depth 1, activating on answer. alice calls bob.")
    scene.window_a = scene.open_window("A", depth_limit=1, activate_on="answered", test=True)
    alice, bob = scene.phones["alice"], scene.phones["bob"]
    old_token = scene.token("bob")
    bob.do("set", answer="manual")
    to_bob = bob.mark()
    to_alice = alice.do("call", to=scene.numbers["bob"], tone=scene.tones[0], record=str(alice.folder / "alice.wav"))
    bob.wait("ring", after=to_bob)
    alice.wait("ringing", after=to_alice)
    time.sleep(0.5)
    scene.observe("2.ringing_grants_nothing", scene.can_call("bob"), "explain, while it rings")
    bob.do("answer", tone=scene.tones[1], record=str(bob.folder / "bob.wav"))
    accepted = bob.wait("accepted", after=to_bob)
    granted = bob.wait("grant", after=to_bob)
    connected = alice.wait("connected", "ended", "refused", after=to_alice)
    scene.observe("2.call_connects", connected["event"], "alice's phone")
    scene.observe("2.grant_within_a_second", granted["at"] - accepted["at"] <= 1000, "bob's phone")
    told = wait_until("OFREP", 1, lambda: ofrep(scene.stack.url, old_token, FEATURE)["value"])
    scene.observe("2.old_token_answers_true", told, "OFREP with the token from before the call")
    scene.observe("2.sources_agree", agree_about_bob(scene, old_token), "OFREP, /v1/me/features, explain, overview")
    with progress.awaiting("the end of their talk"):
        time.sleep(TALK_SECONDS)
    alice.do("hangup")
    alice.wait("ended", after=to_alice)
    bob.wait("ended", after=to_bob)
    mine, theirs = scene.tones
    scene.observe("2.alice_hears_bob", heard(scene, "alice", "alice.wav", own=mine, other=theirs), "alice's recording")
    scene.observe("2.bob_hears_alice", heard(scene, "bob", "bob.wav", own=theirs, other=mine), "bob's recording")
    scene.connected_calls.append(connected["call"])
    scene.note_erin()


def agree_about_bob(scene: Scene, token: str) -> bool | list[Any]:
    """True when four ways of asking give one answer; otherwise the answers."""
    by_ofrep = ofrep(scene.stack.url, token, FEATURE)
    mine = my_features(scene.stack.url, token)[FEATURE]
    explained = scene.explain("bob")
    row = next(row for row in scene.stack.operator.get("overview")["features"] if row["key"] == FEATURE)
    answers = [by_ofrep["value"], mine["value"], explained["value"], row["grants"] == scene.count_grants()]
    causes = {by_ofrep["metadata"]["cause"], mine["cause"], explained["cause"]}
    return True if all(answer is True for answer in answers) and len(causes) == 1 else [*answers, sorted(causes)]


def act_3_depth_and_no_answer(scene: Scene) -> None:
    tell("3. bob may not invite any further: the window's depth is 1. dave doesn't answer alice.")
    refused = scene.call_refused("bob", "carol")
    scene.observe("3.depth_is_refused", refused["invite"], f"bob's phone: {refused['detail']}")
    scene.observe("3.carol_has_nothing", scene.can_call("carol"), "explain")
    alice, dave = scene.phones["alice"], scene.phones["dave"]
    dave.do("set", answer="ignore")
    to_dave = dave.mark()
    mark = alice.do("call", to=scene.numbers["dave"])
    dave.wait("ring", after=to_dave)
    ended = alice.wait("ended", "refused", after=mark, seconds=70)
    scene.observe("3.unanswered_call_ends", ended.get("reason", ended["event"]), "alice's phone")
    scene.observe("3.unanswered_grants_nothing", scene.can_call("dave"), "explain")
    window = wait_until("the place to be given back", 10, lambda: scene.window_at_rest(scene.window_a)) or scene.window(
        scene.window_a
    )
    scene.observe("3.places_are_returned", {key: window[key] for key in ("pending", "used")}, "the window over REST")
    scene.note_erin()


def act_4_close_while_ringing(scene: Scene) -> None:
    tell("4. alice calls carol. While it rings, the operator closes window A; then carol answers.")
    alice, carol = scene.phones["alice"], scene.phones["carol"]
    carol.do("set", answer="manual")
    to_carol = carol.mark()
    mark = alice.do("call", to=scene.numbers["carol"])
    carol.wait("ring", after=to_carol)
    scene.close_window(scene.window_a)
    carol.do("answer")
    ends = [carol.wait("ended", "connected", after=to_carol), alice.wait("ended", "connected", after=mark)]
    told = [word for end in ends for word in (end.get("reason", end["event"]), end.get("cause"))]
    scene.observe("4.call_after_close_ends", told, "carol's and alice's phones")
    scene.observe("4.close_grants_nothing", scene.can_call("carol"), "explain")
    bob = scene.phones["bob"]
    bob.do("set", answer="auto")
    mark = alice.do("call", to=scene.numbers["bob"], tone=scene.tones[0])
    connected = alice.wait("connected", "ended", "refused", after=mark)
    scene.observe("4.those_who_have_it_keep_it", connected["event"], "alice's phone")
    scene.connected_calls.append(connected["call"])
    alice.do("hangup")
    alice.wait("ended", after=mark)
    report = wait_until("the window's report", 20, lambda: scene.window(scene.window_a)["report"])
    scene.observe("4.report_matches", report_matches(report), "the window's report")
    scene.note_erin()


def report_matches(report: dict[str, Any] | None) -> bool | dict[str, Any] | None:
    """The report's numbers against what was played: one activation, bob's refusal for depth, carol's for the close."""
    if not report:
        return report
    held = (
        report["activations"] == 1
        and report["refusals"].get("depth") == 1
        and report["refusals"].get("window_closed", 0) <= 1
        and report["reservations"] == {"completed": 1, "released": 1, "cancelled": 1}
        and report["setup_ms"]["n"] == 1
        and report["peak_calls"] >= 0
    )
    return True if held else report


def act_5_offered(scene: Scene) -> None:
    tell("5. Window B opens: the invited may invite, and the offer activates. bob calls carol.")
    scene.window_b = scene.open_window("B", depth_limit=3, activate_on="offered", test=False)
    bob, carol = scene.phones["bob"], scene.phones["carol"]
    carol.do("set", answer="manual")
    to_carol = carol.mark()
    mark = bob.do("call", to=scene.numbers["carol"])
    carol.wait("grant", after=to_carol)
    scene.observe("5.offer_activates", scene.can_call("carol"), "explain, before carol touched her phone")
    bob.do("hangup")
    bob.wait("ended", after=mark)
    scene.note_erin()


def act_6_capacity(scene: Scene) -> None:
    tell(f"6. The area carries {CAPACITY} calls. {CROWD_PAIRS} pairs of phones hold a call each.")
    scene.hold_calls(CROWD_PAIRS)
    held = wait_until(
        "a measurement that holds activations", 4 * scene.tick + 10, lambda: scene.area_holds(CROWD_PAIRS)
    )
    scene.observe("6.load_is_measured", held or scene.area_now(), "the newest decision record of the controller")
    refused = scene.call_refused("alice", "dave")
    scene.observe("6.invite_is_throttled", [refused.get("invite"), bool(refused.get("retry_at"))], "alice's phone")
    wave = scene.open_wave()
    scene.let_ticks_pass(2)
    still = scene.wave(wave)
    says = "85 %" in still["standstill"] and str(CROWD_PAIRS) in still["standstill"]
    scene.observe("6.wave_stands_still", {"admitted": still["admitted"], "says_why": says}, still["standstill"])
    scene.note_erin()
    tell("   Five calls hang up.")
    scene.hold_calls(CROWD_PAIRS - 5)
    scene.phones["dave"].do("set", answer="auto")
    activated = wait_until(
        "dave to be activated", 2 * scene.tick + 5, lambda: scene.try_to_activate("alice", "dave"), every=1
    )
    scene.observe("6.allowance_returns", bool(activated), "alice's phone and explain")
    done = wait_until("the wave to admit everybody", 8 * scene.tick + 20, lambda: scene.wave_done(wave)) or scene.wave(
        wave
    )
    scene.observe("6.wave_completes", {key: done[key] for key in ("state", "admitted")}, "the wave over REST")
    blind(scene)


def blind(scene: Scene) -> None:
    tell("   The worker is stopped: nobody measures any more.")
    scene.stack.processes("stop", "worker")
    refusal = wait_until(
        "activations to hold, since nobody measures",
        scene.stale + 2,
        lambda: scene.throttled("alice", "frank"),
        every=1,
    )
    scene.observe("6.blind_means_zero", refusal or "not throttled", "alice's phone")
    scene.stack.processes("start", "worker")
    resumed = wait_until(
        "the worker to measure again", 4 * scene.tick + 30, lambda: scene.try_to_activate("alice", "frank"), every=1
    )
    scene.observe("6.worker_resumes", bool(resumed), "alice's phone and explain")
    scene.hold_calls(0)
    scene.note_erin()


def act_7_launch(scene: Scene) -> None:
    tell("7. erin knew nobody, and waited. Now calling is launched for everyone; erin calls alice.")
    scene.observe("7.erin_waits_throughout", sorted(set(scene.erin)), f"/v1/me/features, {len(scene.erin)} times")
    scene.stack.operator.post(f"features/{FEATURE}/launch", {"reason": "The story launches."})
    wait_until("erin's phone to know of the launch", 5, lambda: scene.my_cause("erin") == "launched")
    erin, alice = scene.phones["erin"], scene.phones["alice"]
    alice.do("set", answer="auto", tone=scene.tones[0])
    mark = erin.do("call", to=scene.numbers["alice"], tone=scene.tones[1])
    scene.running_since = alice.mark()
    connected = erin.wait("connected", "ended", "refused", after=mark)
    scene.observe("7.launch_reaches_erin", connected["event"], "erin's phone")
    scene.connected_calls.append(connected["call"])
    scene.running = mark


def act_8_kill(scene: Scene) -> None:
    tell("8. The operator kills calling, running calls too; then takes it back.")
    names = ("alice", "bob", "carol", "dave", "erin", "frank")
    before = {name: scene.decision(name) for name in names}
    kill = {"end_calls": True, "reason": "The story pulls the switch."}
    scene.stack.operator.post(f"features/{FEATURE}/kill", kill)
    ends = [
        scene.phones["erin"].wait("ended", after=scene.running, seconds=10),
        scene.phones["alice"].wait("ended", after=scene.running_since, seconds=10),
    ]
    scene.observe("8.kill_ends_the_call", [end["reason"] for end in ends], "erin's and alice's phones")
    refused = scene.call_refused("alice", "bob")
    scene.observe("8.kill_stops_calls", refused["code"], f"alice's phone: {refused['detail']}")
    scene.stack.operator.post(f"features/{FEATURE}/unkill", {"reason": "The story takes it back."})
    after = wait_until(
        "each decision to be as before the kill", 5, lambda: before == {name: scene.decision(name) for name in names}
    )
    scene.observe("8.unkill_restores", bool(after), "explain for six people")


def act_9_what_remains(scene: Scene) -> None:
    tell("9. What remains: the invite tree, the audit trail, the set-up times.")
    tree = scene.stack.operator.get(f"features/{FEATURE}/invite-tree?root={scene.ids['alice']}")
    below = scene.tree_by_name(tree)
    scene.observe("9.invite_tree", {name: below[name] for name in ("alice", "bob")}, "the invite tree over REST")
    verified = scene.stack.operator.get("audit/verify")
    scene.observe("9.audit_verifies", verified["ok"], f"{verified['entries']} audit entries, verified")
    times = wait_until("the records of the calls", 10, lambda: scene.all_set_up_times()) or []
    scene.observe("9.set_up_times", len(times) == len(scene.connected_calls), f"set-up times in ms: {times}")
    progress.say(scene.draw(tree))
    progress.say(f"   Set-up times: {', '.join(f'{ms} ms' for ms in times)}.")


ACTS = (
    act_1_alice_alone,
    act_2_window_a,
    act_3_depth_and_no_answer,
    act_4_close_while_ringing,
    act_5_offered,
    act_6_capacity,
    act_7_launch,
    act_8_kill,
    act_9_what_remains,
)
