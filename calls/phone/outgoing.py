"""Calling somebody: prepare, believe the callee's devices, seal one first message for each, invite, and answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any

from calls.phone.account import Refused
from calls.phone.call import SETUP_SECONDS, Call, Ending, Peer, PhoneParts, State
from calls.phone.leg import SecurityError, Wish
from calls.phone.report import now_ms
from calls.rules.blob import LIFETIME_SECONDS, End, Role, b64, pad, prologue, unb64, unpad
from calls.rules.contacts import plain_number, words_of
from calls.rules.devices import Comparison, verify
from calls.rules.noise_ik import Initiated, KeyPair, read_message_2, write_message_1
from calls.rules.sdp import Setup, parse

GLARE_SECONDS = 10.0
PATIENCE_SECONDS = 180.0  # the arbiter ends a call long before: this is for an arbiter that vanished
MEDIA = "audio"


def fresh_pair() -> KeyPair:
    return KeyPair.of(secrets.token_bytes(32))


async def place(parts: PhoneParts, whom: Mapping[str, str], wish: Wish) -> Ending:
    """Call a number (`{"phone": …}`) or a subscriber (`{"subscriber": …}`) and stay until the call is over."""
    call = Call(parts, Role.INITIATOR, wish)
    whom = {what: plain_number(meant) if what == "phone" else meant for what, meant in whom.items()}
    who = whom.get("phone") or whom.get("subscriber")
    call.say("calling", f"Calling {who}.", to=who)
    return await call.live(_flow(call, whom))


async def _flow(call: Call, whom: Mapping[str, str]) -> None:
    prepared = await _ask(call, "prepare", callee=dict(whom), media=MEDIA)
    call.id, call.ticket = str(prepared["call"]), prepared.get("ticket")
    call.peer = believe(call, _as_meant(prepared["callee"], whom), whom.get("phone"))
    first = _first_messages(call, prepared["callee"].get("devices") or [])
    call.parts.calls[call.id] = call
    await _invite(call, {device: message for device, (message, _) in first.items()})
    accepted = await asyncio.wait_for(call.accepted.get(), PATIENCE_SECONDS)
    await _answer(call, accepted, {device: state for device, (_, state) in first.items()}, prepared)
    await call.talk()


async def _ask(call: Call, op: str, **body: Any) -> dict[str, Any]:
    try:
        return await call.parts.line.request(op, **body)
    except Refused as refused:
        call.refused(refused, op)
        raise


async def _invite(call: Call, blobs: Mapping[str, bytes]) -> None:
    identity = call.parts.identity
    try:
        await call.parts.line.request(
            "invite",
            call=call.id,
            ticket=call.ticket,
            blobs={device: b64(message) for device, message in blobs.items()},
            list=b64(identity.list_body),
            signature=b64(identity.list_signature),
        )
    except Refused as refused:
        call.refused(refused, "invite")
        if refused.code == "glare" and call.peer is not None:
            _consent(call, str(refused.problem.get("call", "")), call.peer.subscriber)
        raise
    call.say("routing", f"Reaching {call.peer.name if call.peer else 'them'}.")


def _consent(call: Call, theirs: str, subscriber: str) -> None:
    """Both called each other: our user's own call is the consent to take theirs, for ten seconds."""
    call.parts.consents[theirs] = (subscriber, time.monotonic() + GLARE_SECONDS)
    waiting = call.parts.calls.get(theirs)
    if waiting is not None and waiting.peer is not None and waiting.peer.subscriber == subscriber:
        waiting.answer(call.wish)
    call.finish(Ending("glare_merged", None, "You called each other at the same moment; their call goes on."))


def _as_meant(callee: Mapping[str, Any], whom: Mapping[str, str]) -> Mapping[str, Any]:
    """What `prepare` says of the callee, where it speaks of the number or account that the user meant."""
    for what, meant in whom.items():
        if callee.get(what) != meant:
            detail = f"The server reads {meant} as {callee.get(what)}. Call that one if it is whom you mean."
            raise Refused.here("read_otherwise", detail)
    return callee


def believe(call: Call, said: Mapping[str, Any], phone: str | None) -> Peer:
    """The other end of a call, whose device list is signed and fits what is remembered. Raises `SecurityError`.

    `phone` is the number as this phone knows it: the one that was dialled, or that the ring names. A change is told;
    where the user had compared the safety number, a call of the user's own ends here.
    """
    listed = verify(unb64(said.get("list")), unb64(said.get("signature")))
    if listed.subscriber != said.get("subscriber"):
        raise SecurityError("The device list belongs to somebody else than who was meant.")
    if listed.device(call.parts.identity.device) is not None:
        raise SecurityError("The device list names this very device.")
    found = call.parts.identity.meet(listed, phone)
    if found.comparison in {Comparison.WENT_BACK, Comparison.FORKED}:
        raise SecurityError("The device list goes back behind one that this phone has seen.")
    if found.change is not None:
        who = phone or listed.subscriber
        words = words_of(found.change, who)
        call.say("key_changed", words, subscriber=listed.subscriber, phone=phone, change=found.change, words=words)
        if found.must_agree and call.role is Role.INITIATOR:
            raise SecurityError(f"You had compared the safety number of {who}. Agree with `trust` before you call.")
    return Peer(listed.subscriber, listed, phone, found)


def _first_messages(call: Call, devices: list[str]) -> dict[str, tuple[bytes, Initiated]]:
    """One sealed first message per device that the account has signed; others are left out."""
    assert call.peer is not None
    identity, listed = call.parts.identity, call.peer.listed
    payload = pad({"media": MEDIA, "caps": ["opus"], "at": now_ms()})
    messages: dict[str, tuple[bytes, Initiated]] = {}
    for device in devices:
        keys = listed.device(device)
        if keys is None:
            continue
        callee = End(listed.subscriber, device, listed.epoch, listed.account_key, call.peer.phone)
        bound = prologue(call.id, caller=identity.end, callee=callee, media=MEDIA, lifetime=LIFETIME_SECONDS)
        messages[device] = write_message_1(identity.keys.exchange, keys.x25519, fresh_pair(), bound, payload)
    if not messages:
        raise SecurityError("None of their devices is signed by their account.")
    return messages


async def _answer(
    call: Call, accepted: Mapping[str, Any], states: Mapping[str, Initiated], prepared: Mapping[str, Any]
) -> None:
    """Read the offer of the device that won, and send it our answer."""
    call.state = State.CONNECTING
    call.peer_device = str(accepted.get("device"))
    state = states.get(call.peer_device)
    if state is None:
        raise SecurityError("A device answered that wasn't called.")
    payload, call.secret = read_message_2(state, unb64(accepted.get("blob")))
    call.say("accepted", f"{call.peer.name if call.peer else 'They'} answered.", device=call.peer_device)
    offer = parse(unpad(payload), Setup.ACTPASS)
    call.media = call.parts.make_media(call.wish, list(prepared.get("ice_servers") or []))
    answer = await asyncio.wait_for(call.media.answer(offer), SETUP_SECONDS)
    await call.tell({"t": "answer", "session": answer.as_json()})
