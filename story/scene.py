"""The people, phones and places of the story, and the questions that the acts ask about them."""

from __future__ import annotations

import secrets
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from story.phones import Phone, PhoneFailed
from story.progress import progress
from story.rest import Refused, my_features, wait_until
from story.stack import NoStack, Stack
from story.statements import Ledger
from story.tones import draw

FEATURE = "voice-calls"
# Everybody of the story lives there, so that its area, its windows and what refusals say are of this country alone.
COUNTRY, PREFIX = "AT", "+43"
AREA = "story"
CAPACITY = 20
CROWD_PAIRS = 17
OTHERS = 200
CAST = ("alice", "bob", "carol", "dave", "erin", "frank")
# What makes a window: with these, one that was closed for the story is opened anew.
TERMS = (
    "feature",
    "name",
    "question",
    "test",
    "areas",
    "activate_on",
    "quota",
    "depth_limit",
    "places",
    "root_budget",
    "min_grant_age_seconds",
    "closes_at",
)
# The area's intervals in seconds: as a deployment has them, and as --fast shortens them.
INTERVALS = {"tick_seconds": 15.0, "stale_seconds": 45.0}
FAST_INTERVALS = {"tick_seconds": 2.0, "stale_seconds": 6.0}


@dataclass
class Scene:
    """One run of the story. Numbers, tones and names of things are drawn anew, so that runs don't meet."""

    stack: Stack
    ledger: Ledger
    folder: Path
    phone: list[str]
    fast: bool
    run: str = field(default_factory=lambda: secrets.token_hex(3))
    phones: dict[str, Phone] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    connected_calls: list[str] = field(default_factory=list)
    erin: list[str] = field(default_factory=list)
    closed_before: list[dict[str, Any]] = field(default_factory=list)
    held: int = 0
    window_a: int = 0
    window_b: int = 0
    running: int = 0
    running_since: int = 0

    def __post_init__(self) -> None:
        self.tones = draw()
        intervals = FAST_INTERVALS if self.fast else INTERVALS
        self.tick, self.stale = intervals["tick_seconds"], intervals["stale_seconds"]

    def observe(self, id: str, observed: Any, source: str) -> None:
        self.ledger.observe(id, observed, source)

    # Setting the scene, and leaving it as it was found.

    def prepare(self) -> None:
        """Make the deployment fit for the story: calling on and granted, no window open, one small area."""
        rest = self.stack.operator
        self.found = rest.get(f"features/{FEATURE}")
        if self.found["switch"] == "killed":
            rest.post(f"features/{FEATURE}/unkill", {"reason": "The story begins."})
        rest.post(f"features/{FEATURE}/on", {"reason": "The story begins."})
        rest.post(f"features/{FEATURE}/access", {"access": "granted", "reason": "The story begins."})
        for window in rest.all("windows"):
            if window["state"] == "open" and window["feature"] == FEATURE:
                self.close_window(window["id"])
                self.closed_before.append(window)
        limits = {
            "capacity_calls": CAPACITY,
            "activations_per_minute": 6000,
            "tick_seconds": self.tick,
            "stale_seconds": self.stale,
            "countries": [COUNTRY],
            "carriers": [],
        }
        if any(area["key"] == AREA for area in rest.all("areas")):
            rest.patch(f"areas/{AREA}", limits)
        else:
            rest.post("areas", {"key": AREA, "name": "The story's country", **limits})

    def gather(self) -> None:
        """Start everybody's phone, each a process with a folder of its own, and grant alice calling."""
        block = secrets.randbelow(90_000) + 10_000
        self.numbers = {name: f"{PREFIX}664{block}{index:03d}" for index, name in enumerate(CAST)}
        for name in CAST:
            self.phones[name] = self._phone(name, ["run", "--phone", self.numbers[name], "--name", name])
        crowd = ["crowd", "--pairs", str(CROWD_PAIRS), "--phone-prefix", f"{PREFIX}660{block % 100:02d}", "--hold"]
        self.crowd = self._phone("crowd", crowd)
        for name in CAST:
            self.ids[name] = self.phones[name].wait("ready", seconds=60)["subscriber"]
        gathered = self.crowd.wait("crowd", seconds=60)
        rest = self.stack.operator
        callers = [self.ids["alice"], *gathered["subscribers"]]
        rest.post("grants", {"feature": FEATURE, "subscribers": callers, "reason": "The first people of the story."})
        others = [{"phone": f"{PREFIX}676{block}{index:03d}", "traits": {"story": self.run}} for index in range(OTHERS)]
        rest.post("subscribers", {"subscribers": others})
        self.phones["alice"].wait("grant", seconds=15)
        self._wait_for_allowance()

    def _phone(self, name: str, words: list[str]) -> Phone:
        return Phone(name, self.phone, self.folder / name, self.stack.url, words)

    def _wait_for_allowance(self) -> None:
        seconds = 3 * self.tick + 30
        if not wait_until(f"the area {AREA} to take people in", seconds, lambda: self.area()["state"] == "ramp"):
            raise PhoneFailed(f"The area {AREA} takes nobody in: {self.area()['reason']}")

    def leave(self) -> None:
        """Close what the story opened, put the feature's access back, and end the phones."""
        phones = [*self.phones.values(), *([self.crowd] if hasattr(self, "crowd") else [])]
        for phone in phones:
            phone.quit()
        with progress.awaiting("the phones to end"):
            for phone in phones:
                phone.close()
        rest = self.stack.operator
        try:
            for window in (self.window_a, self.window_b):
                if window and self.window(window)["state"] == "open":
                    self.close_window(window)
            self.stack.processes("start", "worker")
            if rest.get(f"features/{FEATURE}")["switch"] == "killed":
                rest.post(f"features/{FEATURE}/unkill", {"reason": "The story is over."})
            if hasattr(self, "found"):
                access = {"access": self.found["access"], "reason": "The story is over."}
                rest.post(f"features/{FEATURE}/access", access)
            for closed in self.closed_before:
                terms = {name: closed[name] for name in TERMS}
                rest.post("windows", {**terms, "open": True, "reason": "It was open before the story."})
        except (Refused, NoStack, OSError) as error:
            print(f"   The feature could not be put back as it was: {error}", file=sys.stderr)

    # Questions to operators' interfaces.

    def explain(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.operator.get(f"explain?subscriber={self.ids[name]}&feature={FEATURE}")
        return found

    def can_call(self, name: str) -> bool:
        return bool(self.explain(name)["value"])

    def decision(self, name: str) -> tuple[Any, str]:
        explained = self.explain(name)
        return explained["value"], explained["cause"]

    def count_grants(self) -> int:
        found = self.stack.operator.get(f"features/{FEATURE}")
        return int(found["grants"])

    def window(self, id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.operator.get(f"windows/{id}")
        return found

    def window_at_rest(self, id: int) -> dict[str, Any] | None:
        window = self.window(id)
        return window if window["pending"] == 0 else None

    def open_window(self, letter: str, **terms: object) -> int:
        window = self.stack.operator.post(
            "windows",
            {
                "feature": FEATURE,
                "name": f"Window {letter} of story {self.run}",
                "question": "Does calling spread by calls?",
                "areas": [AREA],
                "quota": 5,
                "places": 50,
                "open": True,
                "reason": f"The story opens window {letter}.",
                **terms,
            },
        )
        return int(window["id"])

    def close_window(self, id: int) -> None:
        self.stack.operator.post(f"windows/{id}/close", {"reason": "The story closes it."})

    def area(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.operator.get(f"areas/{AREA}")
        return found

    def area_now(self) -> dict[str, Any]:
        """Load and state of the controller's newest decision."""
        newest = self.stack.operator.all(f"areas/{AREA}/decisions")[0]
        sample = newest["inputs"]["sample"] or {}
        return {"calls": sample.get("concurrent_calls"), "state": newest["state"]}

    def let_ticks_pass(self, count: int) -> None:
        """The controller has decided so often since, and waves had a second to follow its last decision."""

        def newest() -> list[int]:
            return [int(row["id"]) for row in self.stack.operator.get(f"areas/{AREA}/decisions?limit=5")["results"]]

        before = newest()[0]
        wait_until(
            "the controller to decide again",
            2 * count * self.tick + 5,
            lambda: sum(id > before for id in newest()) >= count,
        )
        time.sleep(1)

    def area_holds(self, calls: int) -> dict[str, Any] | None:
        seen = self.area_now()
        return seen if seen == {"calls": calls, "state": "hold"} else None

    def open_wave(self) -> int:
        rest = self.stack.operator
        clause = {"trait": "story", "operator": "IN", "values": [self.run]}
        terms = {"feature": FEATURE, "name": f"The others of story {self.run}", "any_of": [[clause]]}
        wave = rest.post("waves", {**terms, "share_ppm": 1_000_000})
        rest.post(f"waves/{wave['id']}/open", {"reason": "The story opens a wave."})
        return int(wave["id"])

    def wave(self, id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.operator.get(f"waves/{id}")
        return found

    def wave_done(self, id: int) -> dict[str, Any] | None:
        wave = self.wave(id)
        return wave if wave["state"] == "done" else None

    # Questions to phones.

    def token(self, name: str) -> str:
        """The access token that a phone holds now."""
        phone = self.phones[name]
        return str(phone.wait("token", after=phone.do("token"))["access_token"])

    def my_cause(self, name: str) -> str:
        return str(my_features(self.stack.url, self.token(name))[FEATURE]["cause"])

    def note_erin(self) -> None:
        """Ask, as erin's phone does, where the rollout stands for her."""
        self.erin.append(self.my_cause("erin"))

    def call_refused(self, caller: str, callee: str) -> dict[str, Any]:
        """Place a call that is expected to be refused; the refusal's problem details."""
        phone = self.phones[caller]
        mark = phone.do("call", to=self.numbers[callee])
        event = phone.wait("refused", "connected", "ringing", after=mark)
        if event["event"] == "refused":
            phone.wait("ended", after=mark)
            return event
        phone.do("hangup")
        phone.wait("ended", after=mark)
        return {"code": f"not refused, but {event['event']}", "detail": "", "invite": event["event"]}

    def hold_calls(self, calls: int) -> None:
        """Let the crowd hold so many calls, and wait until it does."""
        if calls > self.held:
            mark = self.crowd.do("start", count=calls - self.held)
        else:
            mark = self.crowd.do("hangup", count=self.held - calls)
        with progress.awaiting(f"the crowd to hold {calls} calls"):
            while self.held != calls:
                event = self.crowd.wait("holding", after=mark, seconds=60)
                self.held, mark = event["holding"], self.crowd.events.index(event) + 1

    def throttled(self, caller: str, callee: str) -> str | None:
        """The invite outcome when the call is throttled, else nothing. Only asks: no call is placed."""
        phone = self.phones[caller]
        event = phone.wait("refused", "prepared", after=phone.do("prepare", to=self.numbers[callee]))
        outcome = event.get("invite")
        return outcome if outcome == "throttled" else None

    def try_to_activate(self, caller: str, callee: str) -> bool:
        """Call, and hang up as soon as it is connected; whether the callee has calling afterwards."""
        self.phones[callee].do("set", answer="auto")
        phone = self.phones[caller]
        mark = phone.do("call", to=self.numbers[callee])
        event = phone.wait("connected", "refused", "ended", after=mark)
        if event["event"] == "connected":
            self.connected_calls.append(event["call"])
            phone.do("hangup")
        if event["event"] != "ended":
            phone.wait("ended", after=mark)
        return self.can_call(callee)

    # What remains.

    def tree_by_name(self, tree: dict[str, Any]) -> dict[str, list[str]]:
        """Whom each person of the cast activated, sorted."""
        names = {id: name for name, id in self.ids.items()}
        found: dict[str, list[str]] = {name: [] for name in CAST}

        def walk(node: dict[str, Any]) -> None:
            children = [names.get(child["subscriber"], "?") for child in node["children"]]
            found[names[node["subscriber"]]] = sorted(name for name in children if name != "frank")
            for child in node["children"]:
                walk(child)

        walk(tree)
        return found

    def draw(self, tree: dict[str, Any], indent: str = "   ") -> str:
        names = {id: name for name, id in self.ids.items()}
        lines = [f"{indent}{names.get(tree['subscriber'], tree['subscriber'])} ({tree['source']})"]
        lines += [self.draw(child, indent + "   ") for child in tree["children"]]
        return "\n".join(lines)

    def all_set_up_times(self) -> list[int] | None:
        """Set-up times of the connected calls, in milliseconds, once all stand in the journal."""
        calls = [self.stack.operator.get(f"calls/{call}") for call in self.connected_calls]
        times = [int(call["setup_ms"]) for call in calls if call["setup_ms"] is not None]
        return times if len(times) == len(calls) else None
