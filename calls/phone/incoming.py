"""Being called: believe the caller, ring, wait for the user, and only then say anything about where we are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, assert_never

from calls.phone.account import Refused
from calls.phone.call import SETUP_SECONDS, Call, Ending, Peer, PhoneParts, State
from calls.phone.identity import Identity
from calls.phone.leg import SecurityError, Wish
from calls.phone.outgoing import believe, fresh_pair
from calls.phone.report import now_ms
from calls.rules.blob import LIFETIME_SECONDS, BadBlob, End, Role, b64, is_fresh, pad, prologue, unb64, unpad
from calls.rules.devices import BadDeviceList
from calls.rules.noise_ik import BadHandshake, Responding, read_message_1, write_message_2
from calls.rules.sdp import Setup, parse

ACTIVATES = "Answering turns calling on for you."


class NotFresh(Exception):
    """The ring is genuine, but it was sealed too long ago: it was held back, sent again, or a clock is wrong."""


class Answering(StrEnum):
    """The user's standing wish for calls that come in."""

    AUTO = "auto"
    MANUAL = "manual"
    DECLINE = "decline"
    IGNORE = "ignore"


@dataclass(slots=True)
class Policy:
    """What this phone does when it rings: `after` seconds, with the wish for the call."""

    answering: Answering = Answering.MANUAL
    after: float = 0.0
    wish: Wish = field(default_factory=Wish)


async def take(parts: PhoneParts, ring: Mapping[str, Any], policy: Policy) -> Ending | None:
    """Ring and see the call through. None where it never rang: the caller couldn't be believed, or the call is old."""
    call = Call(parts, Role.RESPONDER, policy.wish)
    call.id, call.state = str(ring["call"]), State.RINGING
    call.ticket = ring.get("ticket")
    try:
        responding = _believe_ring(call, ring)
    except NotFresh:
        assert call.peer is not None
        words = f"You missed a call from {call.peer.name}: it came too late, or one of the two phones' clocks is wrong."
        parts.reporter.say("missed", words, call=call.id, peer=call.peer.phone, media=ring.get("media"))
        return None
    except (SecurityError, BadHandshake, BadBlob, BadDeviceList, KeyError, TypeError) as error:
        problem = {"code": "security_error", "detail": f"A call was refused unheard: {error}"}
        parts.reporter.refused(problem, op="ring", call=call.id)
        await _tell_quietly(parts, "decline", call.id)
        return None
    parts.calls[call.id] = call
    return await call.live(_flow(call, ring, responding, policy))


async def _tell_quietly(parts: PhoneParts, op: str, call: str) -> None:
    try:
        await parts.line.request(op, call=call)
    except Refused as refused:
        parts.reporter.refused(refused.problem, op=op, call=call)


async def say_busy(parts: PhoneParts, ring: Mapping[str, Any]) -> None:
    """Already in a call: this device's leg ends, and nothing rings."""
    who = (ring.get("from") or {}).get("phone")
    parts.reporter.say("busy", f"{who or 'Somebody'} called while you talk.", call=ring.get("call"), peer=who)
    await _tell_quietly(parts, "busy", str(ring["call"]))


def _believe_ring(call: Call, ring: Mapping[str, Any]) -> Responding:
    """The handshake's state where the ring comes from the very device that it names."""
    caller: Mapping[str, Any] = ring["from"]
    call.peer = believe(call, caller, caller.get("phone"))
    call.peer_device = str(caller["device"])
    keys = call.peer.listed.device(call.peer_device)
    if keys is None:
        raise SecurityError("The calling device isn't signed by its account.")
    identity, listed = call.parts.identity, call.peer.listed
    theirs = End(listed.subscriber, call.peer_device, listed.epoch, listed.account_key, call.peer.phone)
    payload, responding = _read(identity, call.id, theirs, ring)
    if responding.remote_static != keys.x25519:
        raise SecurityError("The call is sealed with a key that isn't in the caller's device list.")
    sealed = unpad(payload)
    if sealed.get("media") != ring.get("media"):
        raise SecurityError("The call was sealed for another kind of media.")
    if not is_fresh(sealed.get("at"), now_ms()):
        raise NotFresh
    return responding


def _read(identity: Identity, call: str, caller: End, ring: Mapping[str, Any]) -> tuple[bytes, Responding]:
    """Payload and state of a first message to this phone's number, or to its account where no number was dialled."""
    media, lifetime = str(ring.get("media")), int(ring.get("lifetime", LIFETIME_SECONDS))

    def read(callee: End) -> tuple[bytes, Responding]:
        bound = prologue(call, caller=caller, callee=callee, media=media, lifetime=lifetime)
        return read_message_1(identity.keys.exchange, bound, unb64(ring.get("blob")))

    try:
        return read(identity.end)
    except BadHandshake:
        return read(replace(identity.end, phone=None))


async def _flow(call: Call, ring: Mapping[str, Any], responding: Responding, policy: Policy) -> None:
    assert call.peer is not None
    peer, activates = call.peer, bool(ring.get("activates"))
    sentence = " ".join(filter(None, [f"{peer.name} is calling.", ACTIVATES if activates else "", peer.not_compared]))
    words = ACTIVATES if activates else None
    fields = {"from": peer.phone, "subscriber": peer.subscriber, "activates": activates, "words": words}
    fields["compared"] = peer.found.verified
    call.say("ring", sentence, media=ring.get("media"), **fields)
    await call.parts.line.request("ringing", call=call.id)
    await _until_answered(call, peer, policy)
    call.state, call.began_at = State.CONNECTING, now_ms()
    call.media = call.parts.make_media(call.wish, list(ring.get("ice_servers") or []))
    offer = await call.media.offer()
    message, call.secret = write_message_2(responding, fresh_pair(), pad(offer.as_json()))
    call.say("answering", "You answered.")
    try:
        await call.parts.line.request("accept", call=call.id, blob=b64(message))
    except Refused as refused:
        call.refused(refused, "accept")
        raise
    call.say("accepted", f"In a call with {peer.name}.")
    answer = await asyncio.wait_for(call.heard(), SETUP_SECONDS)
    if answer.get("t") != "answer":
        raise BadBlob("The caller sent something else than an answer.")
    await call.media.take_answer(parse(answer.get("session"), Setup.ACTIVE))
    await call.talk()


async def _until_answered(call: Call, peer: Peer, policy: Policy) -> None:
    """Returns when the user answers. A changed key takes the answer out of every standing wish's hands."""
    subscriber, until = call.parts.consents.pop(call.id, ("", 0.0))
    trusted = peer.found.change is None
    if trusted and subscriber == peer.subscriber and time.monotonic() < until:
        call.answer()
    match policy.answering:
        case Answering.AUTO:
            if trusted:
                await asyncio.wait({asyncio.ensure_future(call.answered.wait())}, timeout=policy.after)
                call.answer()
        case Answering.DECLINE:
            if policy.after:
                await asyncio.sleep(policy.after)
            await call.hang_up()
        case Answering.MANUAL | Answering.IGNORE:
            pass
        case _:
            assert_never(policy.answering)
    await call.answered.wait()
