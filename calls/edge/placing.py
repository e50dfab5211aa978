"""Placing a call: `prepare` asks whether it may be, `invite` takes the reservation and makes the phones ring."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson
import structlog
from nacl.secret import SecretBox

from calls.rules.call import Finished, Identity, Invited, Meeting, meet
from calls.rules.ending import Reason
from calls.rules.grant_event import grant_event
from calls.rules.permission import NotNow, NotYours, Permitted, Shown, judge, read_facts
from calls.rules.profile import for_network
from calls.turn import ice_servers
from controlplane.accounts.errors import DeviceNotListed
from controlplane.accounts.rules.phone import PhoneNumber, parse_phone
from controlplane.base.env import Env
from controlplane.base.keys import Keys
from controlplane.base.refusal import BadInput, Refusal, TryAgain
from rollout.rules.decision.person import Person
from rollout.rules.spread.invite import Outcome, told

from .arbiter import Arbiter
from .errors import CannotBeCalledNow, DeviceListSuperseded, Glare, Stopped, signed_out
from .gate import Gate
from .limits import INVITE, PREPARE, PREPARE_DAY, Limits
from .listed import Listed, fingerprint, read_listed
from .store import Reply, StoreAway
from .tickets import TICKET_MS, BadTicket, Ticket, TicketExpired, TicketSpent, unseal
from .tokens import Token

FEATURES: Mapping[str, str] = {"audio": "voice-calls"}
REFUSAL_FLOOR = 0.06
LIFETIME_SECONDS = 60
MOST_MEETINGS = 3
UNSURE_SECONDS = (5.0, 10.0, 20.0)
ROUTING = b'{"state":"routing"}'
log = structlog.get_logger("edge")


def until_beat(elapsed: float) -> float:
    """How long to hold a refusal back (s): to the floor or, where PostgreSQL took longer, to its next multiple.

    What a query took tells about the person that was called; which beat it missed tells far less.
    """
    return REFUSAL_FLOOR - elapsed % REFUSAL_FLOOR


class Placing:
    def __init__(self, env: Env, keys: Keys, arbiter: Arbiter, limits: Limits, gate: Gate) -> None:
        self.env = env
        self.keys = keys
        self.box: SecretBox = keys.ticket
        self.arbiter = arbiter
        self.limits = limits
        self.gate = gate

    # prepare

    async def prepare(self, token: Token, fields: Mapping[str, Any], started: float) -> dict[str, Any]:
        """A ticket and what the phone needs to place the call. Refusals about the callee take the same time for all."""
        media = fields.get("media", "audio")
        feature = FEATURES[media]
        self.gate.require_on(feature)
        await self.limits.spend(PREPARE, token.subscriber)
        await self.limits.spend(PREPARE_DAY, token.subscriber)
        number, subscriber = self._callee(fields["callee"])
        phone_hash = self.keys.phone_hash(number.e164) if number else None
        country = number.country if number else None
        row = await self.arbiter.database.row(
            "SELECT calls_permission(%s, %s, %s, %s, %s)", (feature, token.subscriber, phone_hash, subscriber, country)
        )
        if row is None:
            raise TryAgain
        read = row[0]
        listed = read_listed(read["callee_list"])
        own_list = _speaks_for_account(token, read)
        facts = read_facts(read, listed.devices)
        permission = judge(self.gate.rulesets.current, feature, token.device, facts)
        match permission:
            case NotYours(decision):
                raise self.gate.not_yours(decision)
            case NotNow(shown=shown):
                self.arbiter.spawn(self._record_refusal(token, feature, permission, facts.callee, phone_hash))
                raise await self._not_before_floor(shown, started)
            case Permitted():
                ticket = self._ticket_for(token, media, permission, read["phone_sealed"], own_list)
                return self._prepared(ticket, listed, number)

    def _ticket_for(self, token: Token, media: str, permitted: Permitted, phone_sealed: str, own: Listed) -> Ticket:
        callee = permitted.callee
        return Ticket(
            Identity(
                call=str(uuid.uuid4()),
                feature=FEATURES[media],
                media=media,
                area=callee.traits["area"] or "unknown",
                caller=token.subscriber,
                caller_device=token.device,
                callee=callee.id,
            ),
            phone=self.keys.unseal_phone(base64.b64decode(phone_sealed)),
            caller_list=fingerprint(own.list, own.signature),
            devices=permitted.devices,
            activates=permitted.activates,
            caller_grant=permitted.grant,
            window=dict(permitted.window),
            made_at=self.arbiter.clock(),
            epoch=self.arbiter.store.known_epoch,
        )

    def _prepared(self, ticket: Ticket, listed: Listed, number: PhoneNumber | None) -> dict[str, Any]:
        identity = ticket.identity
        return {
            "call": identity.call,
            "ticket": ticket.seal(self.box),
            "expires_in": TICKET_MS // 1000,
            "callee": {
                "subscriber": identity.callee,
                "phone": number.e164 if number else None,
                "list": listed.list,
                "signature": listed.signature,
                "devices": list(ticket.devices),
            },
            "ice_servers": self.ice_servers(identity.call, identity.caller_device),
            "profile": for_network(None).as_json(),
            "ring_seconds": round(self.env.ring_seconds),
        }

    def _callee(self, callee: Mapping[str, str]) -> tuple[PhoneNumber | None, str | None]:
        if "subscriber" in callee:
            return None, callee["subscriber"]
        return parse_phone(callee["phone"], unassigned=True), None

    async def _not_before_floor(self, shown: Shown, started: float) -> CannotBeCalledNow:
        await asyncio.sleep(until_beat(time.monotonic() - started))
        return CannotBeCalledNow(shown.window, shown.invite, shown.retry_at)

    async def _record_refusal(
        self, token: Token, feature: str, refused: NotNow, callee: Person | None, phone_hash: bytes | None
    ) -> None:
        detail: dict[str, Any] = {"cause": refused.cause, "at": "prepare", "shown": refused.shown.invite}
        if refused.window is not None:
            detail["window"] = refused.window
        try:
            await self.arbiter.database.row(
                "SELECT rollout_refuse(%s, %s, %s, %s, %s, %s, %s::jsonb)",
                (
                    feature, str(uuid.uuid4()), token.subscriber, callee and callee.id, phone_hash,
                    str(refused.outcome), orjson.dumps(detail).decode(),
                ),
            )  # fmt: skip
        except Refusal:
            log.warning("refusal.not_recorded", outcome=str(refused.outcome))

    # invite

    async def invite(self, token: Token, fields: Mapping[str, Any], request: str, started: float) -> dict[str, Any]:
        """Take the reservation when the call turns calling on, then make the callee's devices ring."""
        ticket = self._ticket(token, fields)
        identity = ticket.identity
        await self.gate.catch_up()
        self.gate.require_on(identity.feature)
        self.gate.require_not_revoked(ticket)
        await self.limits.spend(INVITE, token.subscriber)
        await self._meet(identity)
        pending, grant, window = await self._reserve(ticket, started)
        event = Invited(
            identity,
            rings={
                device: self._ring(ticket, fields, device, pending)
                for device in fields["blobs"]
                if not self.gate.feed.is_revoked(device)
            },
            pending=pending,
            window=window,
            grant=grant,
        )
        reply = Reply(f"rc:res:{token.device}:{identity.call}:{request}", ROUTING) if request else None
        try:
            for _ in range(MOST_MEETINGS):
                moved = await self.arbiter.begin(event, reply)
                if moved.call is not None:
                    break
                if moved.older == identity.call:
                    pending = False  # the reservation is the running call's
                    raise TicketSpent("This call was placed already: ask for a new ticket with prepare.")
                await self._meet(identity)
            else:
                raise TryAgain
        except StoreAway:
            if pending:
                self.arbiter.spawn(self._release_unplaced(identity))
            raise
        except BaseException:
            if pending:
                self.arbiter.spawn(self.arbiter.release(identity.feature, identity.call, "not_placed"))
            raise
        if moved.again is None:
            self.arbiter.attempted(identity.area)
        try:
            self.gate.require_on(identity.feature)
        except Stopped:  # the switch was thrown while this invite was on its way
            await self.arbiter.apply(identity.call, Finished(Reason.STOPPED))
            raise
        return {"state": "routing"}

    async def _release_unplaced(self, identity: Identity) -> None:
        """Redis gave no answer: the call may ring all the same, and its caller may ask again. Should Redis stay silent,
        the reservation's expiry does it."""
        for pause in UNSURE_SECONDS:
            await asyncio.sleep(pause)
            try:
                if await self.arbiter.look(identity.call) is None:
                    await self.arbiter.release(identity.feature, identity.call, "not_placed")
                return
            except StoreAway:
                continue

    def _ticket(self, token: Token, fields: Mapping[str, Any]) -> Ticket:
        ticket = unseal(self.box, fields["ticket"], fields["call"], token.device)
        if ticket.identity.caller_device != token.device or ticket.identity.caller != token.subscriber:
            raise BadTicket("The ticket belongs to another device: ask for a new one with prepare.")
        if self.arbiter.clock() - ticket.made_at > TICKET_MS:
            raise TicketExpired("Ask for a new ticket with prepare.")
        if fingerprint(fields["list"], fields["signature"]) != ticket.caller_list:
            raise DeviceListSuperseded("Send your device list as it stands: GET /v1/device-list gives it.")
        for device in fields["blobs"]:
            if device not in ticket.devices:
                raise BadInput("Only the devices that prepare named can be called.", path=f"/blobs/{device}")
        if all(map(self.gate.feed.is_revoked, fields["blobs"])):
            raise TicketExpired("The phones that it names were signed out: ask for a new ticket with prepare.")
        return ticket

    async def _meet(self, identity: Identity) -> None:
        """An older call of the same two people: in glare it wins, otherwise this one takes its place."""
        older = await self.arbiter.store.pair(identity.caller, identity.callee)
        if older is None or older == identity.call:
            return
        call = await self.arbiter.look(older)
        if call is None or call.over:
            await self.arbiter.store.unpair(identity.caller, identity.callee, older)
        elif meet(call, identity.caller, self.arbiter.clock()) is Meeting.GLARE:
            self.arbiter.metrics.ended.labels(Reason.GLARE_MERGED).inc()
            raise Glare("The other person is calling you: answer that call.", extra={"call": older})
        else:
            await self.arbiter.apply(older, Finished(Reason.REPLACED))

    async def _reserve(self, ticket: Ticket, started: float) -> tuple[bool, dict[str, Any] | None, str | None]:
        """(a reservation is pending, the grant event when the offer already grants, the window's id)."""
        if not ticket.activates:
            return False, None, None
        env, identity = self.env, ticket.identity
        ttl = timedelta(seconds=env.route_seconds + env.ring_seconds + 3 * env.accepting_seconds)
        row = await self.arbiter.database.row(
            "SELECT outcome, detail FROM rollout_reserve(%s, %s, %s, %s, %s)",
            (identity.feature, identity.call, identity.caller, identity.callee, ttl),
        )
        outcome, detail = row or (Outcome.NO_RESERVATION, {})
        detail = detail or {}
        window = str(detail["window"]) if detail.get("window") else None
        if outcome == Outcome.RESERVED:
            return True, None, window
        if outcome == Outcome.GRANTED:
            return False, grant_event(identity.feature, detail["grant"], "invite"), window
        if outcome == Outcome.ALREADY:
            return False, None, None
        state = {"state": "closed"} if outcome == Outcome.WINDOW_CLOSED else ticket.window
        raise await self._not_before_floor(Shown(state, told(Outcome(outcome)), detail.get("retry_at")), started)

    def _ring(self, ticket: Ticket, fields: Mapping[str, Any], device: str, activates: bool) -> dict[str, Any]:
        identity = ticket.identity
        caller = {
            "subscriber": identity.caller,
            "device": identity.caller_device,
            "phone": ticket.phone,
            "list": fields["list"],
            "signature": fields["signature"],
        }
        return {
            "call": identity.call,
            "from": caller,
            "media": identity.media,
            "blob": fields["blobs"][device],
            "activates": activates,
            "ice_servers": self.ice_servers(identity.call, device),
            "ring_ms": round(self.env.ring_seconds * 1000),
            "lifetime": LIFETIME_SECONDS,
            "ticket": fields["ticket"],
        }

    def ice_servers(self, call: str, device: str) -> list[dict[str, Any]]:
        return ice_servers(
            self.env.turn_urls,
            self.env.turn_secret,
            key=self.keys.pseudonym,
            call=call,
            device=device,
            now=int(time.time()),
        )


def _speaks_for_account(token: Token, read: Mapping[str, Any]) -> Listed:
    """The caller's list as it stands. Raises `NotAuthenticated` for a device that has ended, by PostgreSQL's word,
    and `DeviceNotListed` for one that the account's key hasn't signed."""
    if read["caller"] is None or token.device not in {device["id"] for device in read["caller"]["devices"]}:
        raise signed_out()
    listed = read_listed(read["caller_list"])
    if token.device not in listed.devices:
        raise DeviceNotListed("Publish a device list that holds this device, then call again.")
    return listed
