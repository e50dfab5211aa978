"""`docs/protocol.md`, made from the message types, the state machine and the end reasons: it can't fall behind."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import json, structs

from .blob import LIFETIME_SECONDS, PROLOGUE_VERSION
from .call import State, Timers
from .ending import ENDINGS
from .messages import EVENTS, FRAME_BYTES, REQUESTS, Ack, Hello, Message, NewToken
from .moves import TABLE

CLOSE_CODES = {
    1003: "a binary frame came; frames are JSON in text",
    1007: "the text was not UTF-8",
    1009: f"the frame, with all its fragments, was larger than {FRAME_BYTES // 1024} KiB",
    1012: "the server restarts: connect again, with jitter",
    1013: "the signaling store is away: connect again a little later",
    4400: "a frame broke the protocol; `bye` names the path",
    4401: "the token is missing, wrong, expired or revoked: refresh it, or register again",
    4408: "no `hello` within 5 s",
    4409: "another socket of this device took over: don't connect again by yourself",
    4429: "too many frames, sockets or connections: `bye` says when to try again",
}
REFUSALS = {
    "bad_input": "a field can't be read; `path` says which",
    "phone_invalid": "what should be a number is none; `cause` says why",
    "not_authenticated": "the token is missing, wrong, expired or revoked",
    "rate_limited": "too often; `retry_after` says when to try again (s)",
    "try_again": "a store is away; `retry_after` says when to try again (s)",
    "not_enabled": "the caller doesn't have calling; `cause` and `words` say why",
    "stopped": "calling is off or killed for everybody",
    "cannot_be_called_now": (
        "the same bytes for blocked, unknown, not enabled, ineligible and opted-out: `window` "
        '{"state": "open", "closed" or "none", "closes_at"?: ms}, `invite` (what stands in the caller\'s own way, or '
        "`ok`), `retry_at` (ms or null); not before 60 ms"
    ),
    "device_not_listed": "this device doesn't stand on the caller's signed device list: publish one that holds it",
    "device_list_superseded": "the caller's device list was followed by another: read it again",
    "bad_ticket": "not a ticket of this call and device",
    "ticket_expired": "the ticket is older than 60 s",
    "ticket_spent": "the call was placed already",
    "glare": "the callee is calling the caller: `call` is that call",
    "call_unknown": "no live call of this device has this id; the same for another's call",
    "call_over": "the call has ended; `reason` and `cause` as in the ended event",
    "too_late": "cancel came after the accept: end the call instead",
    "out_of_state": "this doesn't fit `state`",
}


def page() -> str:
    """The whole page in Markdown."""
    return "\n".join(
        [*_opening(), *_requests(), *_events(), *_sealed(), *_machine(), *_reasons(), *_refusals(), *_rest(), ""]
    )


def _opening() -> list[str]:
    return [
        "# The signaling protocol, version 1",
        "",
        "<!-- Made by `manage.py protocol_page` from the message types in calls/rules. Edit those, not this page. -->",
        "",
        "One WebSocket, `/v1/signal`; each frame is one JSON object in text, at most 64 KiB, a sealed blob at most",
        "16 KiB. The server sees who calls whom and when; what is inside the blobs it can't read.",
        "",
        "```",
        'C→S {"k":"hello", …}                  within 5 s; answered by welcome, or by bye and a close code',
        'C→S {"k":"req","id":…,"t":…, …}       S→C {"k":"res","id":…,"ok":{…}} or {"k":"res","id":…,"problem":{…}}',
        'S→C {"k":"ev","seq":…,"t":…,"age_ms":…, …}   C→S {"k":"ack","seq":…}',
        'C→S {"k":"token","token":…}           S→C {"k":"bye","problem":{…}}, then the socket closes',
        "```",
        "",
        "- Events stand in an inbox of the device until they are acknowledged: each comes at least once, in order,",
        "  also after a new connection (`last_seq`). A number that was seen is not handled again.",
        "- `epoch` names the life of the inboxes. When `welcome` says another than the last time, count from 0 again.",
        "- A request that is sent again with its `id` gets the same answer and acts once.",
        "- Time is the server's: `age_ms` says how old an event is. A phone that wakes late gets `missed`, and doesn't",
        "  ring.",
        "- A phone that has no socket uses REST (below); both may be mixed.",
        "",
        "## hello",
        "",
        *_message(Hello),
        "### ack",
        "",
        *_message(Ack),
        "### token",
        "",
        *_message(NewToken),
        "### Close codes",
        "",
        *_table(("code", "meaning"), ((str(code), meaning) for code, meaning in CLOSE_CODES.items())),
    ]


def _requests() -> list[str]:
    lines = ["## Requests", ""]
    for name, message in REQUESTS.items():
        lines += [f"### {name}", "", *_message(message)]
    return lines


def _events() -> list[str]:
    lines = ["## Events", ""]
    for name, message in EVENTS.items():
        lines += [f"### {name}", "", *_message(message)]
    return lines


def _message(message: type[Message]) -> list[str]:
    lines = [message.__doc__ or "", ""]
    rows = []
    for field in structs.fields(message):
        kind = json.schema(field.type)
        meaning = kind.get("description", "") + ("" if field.required else " (optional)")
        rows.append((f"`{field.encode_name}`", kind.get("title", "as described"), meaning))
    lines += _table(("field", "is", "meaning"), rows)
    if message.answer:
        lines += [f"Answer: `{message.answer}`", ""]
    if message.refusals:
        lines += ["Refusals: " + ", ".join(f"`{code}`" for code in message.refusals) + ".", ""]
    return lines


def _sealed() -> list[str]:
    return [
        "## What the handshake binds",
        "",
        "The blobs of `invite` and `accept` are the two messages of `Noise_IK_25519_AESGCM_SHA256`; `relay` carries",
        "what follows. The prologue is canonical JSON (sorted members, no spaces, UTF-8), the same bytes at both ends:",
        "",
        "```",
        f'{{"v":{PROLOGUE_VERSION},"call":…,"media":"audio","lifetime":{LIFETIME_SECONDS},"caller":END,"callee":END}}',
        'END: {"account":subscriber,"device":…,"epoch":of the device list,"key":account key,"phone":E.164 or null}',
        "```",
        "",
        "Each end puts in the numbers as it knows them: its own, the one that was dialled (null where an account was",
        "called), and the one that the ring names. So a server that lies about a number breaks the handshake, and the",
        "phone that notices ends the call as `security_error`. A number that comes with another account key than",
        "before, or a key with another number, is a changed key: people are told, nothing is answered by itself, and",
        "somebody whose safety number was compared is called or answered only after the user agrees.",
        "",
        "The first message says, sealed, when it was made. A ring whose message is further away from the phone's own",
        f"clock than {LIFETIME_SECONDS} s is a missed call, whatever `age_ms` says: it was held back or sent again.",
        "The `server_time` of `welcome` lets a phone warn of a clock that is far off.",
        "",
    ]


def _machine() -> list[str]:
    timers = Timers()
    limits = {
        State.ROUTING: (timers.route, "unreachable"),
        State.RINGING: (timers.ring, "no_answer"),
        State.ACCEPTING: (timers.accepting, "the grant row decides, or not_activated"),
        State.ACCEPTED: (timers.setup, "setup_failed"),
        State.CONNECTED: (timers.alive, "lost, unless both ends said alive"),
    }
    rows = []
    for state, (limit, then) in limits.items():
        taken = ", ".join(event.__name__ for of, event in TABLE if of is state)
        rows.append((f"`{state}`", f"{limit // 1000} s, then {then}", taken))
    return [
        "## The states of a call",
        "",
        "What is not listed for a state is dropped, and counted. An ended call never changes.",
        "",
        *_table(("state", "lasts at most", "takes"), rows),
        "Legs, one for each called device: queued → delivered → ringing → won, lost, declined, busy,",
        "cancelled or gone. Accept against cancel: one of them wins, and both learn which.",
        "",
    ]


def _reasons() -> list[str]:
    rows = (
        (f"`{reason}`", f"{ending.sip} {ending.phrase}", f"`{ending.callkit}`", ending.words)
        for reason, ending in ENDINGS.items()
    )
    return ["## End reasons", "", *_table(("reason", "SIP (RFC 3261)", "CallKit", "in words"), rows)]


def _refusals() -> list[str]:
    rows = ((f"`{code}`", meaning) for code, meaning in REFUSALS.items())
    return [
        "## Refusals",
        "",
        "RFC 9457 problem details, with `code` beside `type`, `title`, `status` and `detail`.",
        "",
        *_table(("code", "meaning"), rows),
    ]


def _rest() -> list[str]:
    return [
        "## REST twins",
        "",
        "The same bodies and answers, with `Authorization: Bearer …`; `Idempotency-Key` takes the place of `id`.",
        "",
        "`POST /v1/calls/prepare` · `POST /v1/calls` (invite) ·",
        "`POST /v1/calls/{call}/{ringing|accept|decline|busy|cancel|end|relay|connected|alive}` ·",
        "`GET /v1/calls/{call}` · `GET /v1/calls/{call}/turn` (fresh relay credentials) ·",
        '`GET /v1/calls/inbox?after=seq&wait=25` (long poll: `{"epoch","server_time","events":[…]}`) ·',
        '`POST /v1/calls/inbox/ack {"seq"}`.',
    ]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return [*lines, ""]
