"""The browser's Noise gives the official vector's bytes; its lists, blobs, safety numbers and sessions are Python's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page

from calls.rules import blob, contacts, devices, noise_ik, sdp
from tests.browser.chromium import add_phone_files, launched, serving
from tests.rules.test_contacts import BOB, BOBS, BOBS_NUMBER, CASES, listed

pytestmark = pytest.mark.browser

VECTOR = Path(__file__).resolve().parents[1] / "vectors" / "noise_ik_25519_aesgcm_sha256.json"

IMPORT_KEYS = """
async function pair(hex) {
  const raw = bytes.fromHex(hex);
  const pkcs8 = bytes.concat(bytes.fromHex("302e020100300506032b656e04220420"), raw);
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, {name: "X25519"}, true, ["deriveBits"]);
  const {x} = await crypto.subtle.exportKey("jwk", privateKey);
  return {privateKey, publicBytes: bytes.fromB64(x)};
}
"""
IMPORTS = """
const bytes = await import("/phone/bytes.js");
const noise = await import("/phone/noise.js");
const blob = await import("/phone/blob.js");
const devices = await import("/phone/devices.js");
const sdp = await import("/phone/sdp.js");
"""


def script(body: str) -> str:
    return f"async (given) => {{ {IMPORTS} {IMPORT_KEYS} {body} }}"


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    app = web.Application()
    add_phone_files(app)
    async with serving(app) as base, launched() as browser:
        page = await browser.new_page()
        await page.goto(f"{base}/phone/bytes.js")  # a page of this origin that runs nothing by itself
        yield page


RUN_VECTOR = script("""
const hex = bytes.toHex, raw = bytes.fromHex;
const initiator = await noise.Initiator.begin({prologue: raw(given.init_prologue), own: await pair(given.init_static),
  remoteStatic: raw(given.init_remote_static), ephemeral: await pair(given.init_ephemeral)});
const responder = await noise.Responder.begin({prologue: raw(given.resp_prologue), own: await pair(given.resp_static),
  ephemeral: await pair(given.resp_ephemeral)});
const payloads = given.messages.map((message) => raw(message.payload));
const sent = [], received = [];
sent.push(await initiator.writeFirst(payloads[0]));
received.push((await responder.readFirst(sent[0])).payload);
const answering = await responder.writeSecond(payloads[1]);
sent.push(answering.message);
const calling = await initiator.readSecond(answering.message);
received.push(calling.payload);
const counters = [0, 0];
for (let at = 2; at < payloads.length; at += 1) {
  const [from, to] = at % 2 ? [answering, calling] : [calling, answering];
  const counter = counters[at % 2]++;
  sent.push(await from.send.seal(counter, bytes.EMPTY, payloads[at]));
  received.push(await to.receive.open(counter, bytes.EMPTY, sent.at(-1)));
}
return {sent: sent.map(hex), received: received.map(hex), hashes: [hex(calling.hash), hex(answering.hash)]};
""")


async def test_noise__the_official_vector_in_the_browser__gives_every_byte(page: Page) -> None:
    vector = json.loads(VECTOR.read_text())["vectors"][0]

    ran = await page.evaluate(RUN_VECTOR, vector)

    assert ran["sent"] == [message["ciphertext"] for message in vector["messages"]]
    assert ran["received"] == [message["payload"] for message in vector["messages"]]
    assert ran["hashes"] == [vector["handshake_hash"]] * 2


ABORT = script("""
const own = await noise.generateKeyPair();
try { await noise.dh(own.privateKey, bytes.fromHex(given)); return "went on"; } catch (error) { return error.name; }
""")


@pytest.mark.parametrize(
    ("point", "outcome"),
    [
        ("00" * 32, "NoiseError"),
        ("01" + "00" * 31, "NoiseError"),
        ("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "NoiseError"),
        ("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", "NoiseError"),
        ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "NoiseError"),
        ("09" + "00" * 31, "went on"),
    ],
)
async def test_dh__a_low_order_point__aborts_and_a_sound_one_goes_on(page: Page, point: str, outcome: str) -> None:
    assert await page.evaluate(ABORT, point) == outcome


CHANGED = script("""
const own = await noise.generateKeyPair(), other = await noise.generateKeyPair();
const prologue = bytes.utf8("one call");
const initiator = await noise.Initiator.begin({prologue, own, remoteStatic: other.publicBytes});
const message = await initiator.writeFirst(blob.pad({media: "audio"}));
const read = async (bound, changedAt) => {
  const copy = message.slice();
  if (changedAt !== null) copy[changedAt] ^= 1;
  const responder = await noise.Responder.begin({prologue: bytes.utf8(bound), own: other});
  try { return blob.unpad((await responder.readFirst(copy)).payload).media; } catch (error) { return error.name; }
};
return [await read("one call", null), await read("another call", null), await read("one call", 0),
  await read("one call", 40), await read("one call", message.length - 1)];
""")


async def test_first_message__changed_or_bound_to_another_call__is_refused(page: Page) -> None:
    assert await page.evaluate(CHANGED) == ["audio", *["NoiseError"] * 4]


RESPOND = script("""
const own = await pair(given.static);
const responder = await noise.Responder.begin({prologue: bytes.fromB64(given.prologue), own,
  ephemeral: await pair(given.ephemeral)});
const first = await responder.readFirst(bytes.fromB64(given.message));
const ended = await responder.writeSecond(blob.pad({offer: "Grüße"}));
const transport = new blob.Transport(ended);
return {payload: blob.unpad(first.payload), remote: bytes.toB64(first.remoteStatic), second: bytes.toB64(ended.message),
  prologue: bytes.toB64(blob.prologue(given.parts)), relayed: bytes.toB64(await transport.seal({t: "confirm", n: 1})),
  confirm: await blob.confirmation("r", ended.hash)};
""")


async def test_handshake__python_calls_the_browser__both_hold_the_same_session(page: Page) -> None:
    caller, callee = noise_ik.KeyPair.of(bytes(range(32))), noise_ik.KeyPair.of(bytes(range(32, 64)))
    ends = {
        "caller": blob.End("018f0000-0000-7000-8000-000000000001", "d-1", 1, bytes(32), "+4915200000001"),
        "callee": blob.End("018f0000-0000-7000-8000-000000000002", "d-2", 7, bytes(range(32)), None),
    }
    bound = blob.prologue("c-1", **ends, media="audio")
    ephemeral = noise_ik.KeyPair.of(b"\x07" * 32)
    message, begun = noise_ik.write_message_1(caller, callee.public, ephemeral, bound, blob.pad({"media": "audio"}))
    parts = {"call": "c-1", "media": "audio", "lifetime": 60, **{name: end.as_json() for name, end in ends.items()}}

    answered = await page.evaluate(
        RESPOND,
        {
            "static": callee.private.hex(),
            "ephemeral": "09" * 32,
            "prologue": blob.b64(bound),
            "message": blob.b64(message),
            "parts": parts,
        },
    )

    assert answered["payload"] == {"media": "audio"}
    assert answered["remote"] == blob.b64(caller.public)
    assert answered["prologue"] == blob.b64(bound)
    payload, session = noise_ik.read_message_2(begun, blob.unb64(answered["second"]))
    assert blob.unpad(payload) == {"offer": "Grüße"}
    assert blob.open_transport(session, blob.unb64(answered["relayed"])) == (0, {"t": "confirm", "n": 1})
    assert answered["confirm"] == blob.confirmation(blob.Role.RESPONDER, session.handshake_hash)


LISTS = script("""
const accountKey = await crypto.subtle.generateKey({name: "Ed25519"}, false, ["sign", "verify"]);
const own = {privateKey: accountKey.privateKey,
  publicBytes: new Uint8Array(await crypto.subtle.exportKey("raw", accountKey.publicKey))};
const signed = await devices.signList({accountKey: own, subscriber: given.subscriber, epoch: 2,
  previous: bytes.utf8("before"), devices: given.devices});
const read = await devices.readList(signed, {subscriber: given.subscriber});
const attempt = async (work) => { try { await work(); return "believed"; } catch (error) { return error.name; } };
const tampered = {...signed, signature: signed.signature.replace(/^./, (c) => (c === "A" ? "B" : "A"))};
return {...signed, key: bytes.toB64(own.publicBytes),
  safety: await devices.safetyNumber({accountKey: own.publicBytes, subscriber: given.subscriber},
    {accountKey: bytes.fromB64(given.other.key), subscriber: given.other.subscriber}),
  tampered: await attempt(() => devices.readList(tampered, {subscriber: given.subscriber})),
  stranger: await attempt(() => devices.readList(signed, {subscriber: given.other.subscriber})),
  back: await attempt(() => devices.compare(read, {...devices.pinOf(read), epoch: 3})),
  fork: await attempt(() => devices.compare(read, {...devices.pinOf(read), digest: "x"})),
  same: devices.compare(read, devices.pinOf(read)),
  changed: devices.compare(read, {epoch: 1, accountKey: given.other.key, digest: read.previous})};
""")


async def test_device_list__signed_in_the_browser__is_believed_by_python_and_only_untouched(page: Page) -> None:
    subscriber, other = "018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002"
    listed = [
        {"id": f"{subscriber[:-1]}{n}", "ed25519": blob.b64(bytes([n]) * 32), "x25519": blob.b64(bytes([n + 9]) * 32)}
        for n in (9, 3)
    ]
    given: dict[str, Any] = {
        "subscriber": subscriber,
        "devices": listed,
        "other": {"key": blob.b64(b"\x05" * 32), "subscriber": other},
    }

    made = await page.evaluate(LISTS, given)

    read = devices.verify(blob.unb64(made["list"]), blob.unb64(made["signature"]))
    assert (read.subscriber, read.epoch, len(read.devices)) == (subscriber, 2, 2)
    assert made["safety"] == devices.safety_number((b"\x05" * 32, other), (blob.unb64(made["key"]), subscriber))
    assert [made[case] for case in ("tampered", "stranger", "back", "fork")] == ["BadDeviceList"] * 4
    assert (made["same"], made["changed"]) == ("same", "key_changed")


RECOGNISE = script("""
const {recognise, remembered, claimOf} = await import("/phone/contacts.js");
const read = ({subscriber, key, epoch, previous, digest}) =>
  ({subscriber, accountKey: bytes.fromB64(key), epoch, previous, digest});
const bob = {...devices.pinOf(read(given.bob)), phone: given.phone, subscriber: given.bob.subscriber, verified: true};
return given.claims.map(([list, phone]) => {
  const found = recognise([bob], read(list), phone);
  const agreed = recognise([bob], read(list), phone, claimOf(read(list), phone));
  const kept = remembered(agreed, read(list), phone, agreed.verified);
  return [found.comparison, found.change, found.verified, found.mustAgree, agreed.comparison,
          kept.phone, kept.verified];
});
""")


def as_read(subscriber: str, key: bytes, epoch: int) -> dict[str, Any]:
    value = listed(subscriber, key, epoch)
    digest, previous = blob.b64(devices.digest(value.as_bytes())), blob.b64(value.previous)
    return {"subscriber": subscriber, "key": blob.b64(key), "epoch": epoch, "previous": previous, "digest": digest}


async def test_contacts__every_case_of_python_s__are_recognised_alike_in_the_browser(page: Page) -> None:
    claims = [(as_read(*claimed[:3]), claimed[3]) for claimed, _, _ in CASES.values()]

    told = await page.evaluate(RECOGNISE, {"bob": as_read(BOB, BOBS, 2), "phone": BOBS_NUMBER, "claims": claims})

    pin = devices.pin_of(listed(BOB, BOBS, 2))
    for answer, (claimed, _, _) in zip(told, CASES.values(), strict=True):
        theirs, phone = listed(*claimed[:3]), claimed[3]
        bob = contacts.Contact(BOBS_NUMBER, BOB, pin, verified=True)
        found = contacts.recognise([bob], theirs, phone)
        claim = contacts.Claim(phone, theirs.subscriber, theirs.account_key)
        agreed = contacts.recognise([replace(bob, rival=claim, agreed=True)], theirs, phone)
        kept = contacts.remembered(agreed, theirs, phone)
        facts = [found.comparison, found.change, found.verified, found.must_agree, agreed.comparison]
        assert answer == [*facts, kept.phone, kept.verified]


BUILD = script("""
const attempt = (change) => {
  const fields = structuredClone(given);
  change(fields);
  try { return sdp.buildSdp(fields, "active"); } catch (error) { return error.name; }
};
return [() => {}, (f) => { f.ufrag = "abcd\\r\\na=x:y"; }, (f) => { f.cands[0].ip = "a.local"; },
  (f) => { f.fp = f.fp.toUpperCase(); }, (f) => { f.setup = "passive"; }, (f) => { f.more = 1; },
  (f) => { f.cands = []; }].map(attempt);
""")


async def test_session__built_in_the_browser__is_python_s_text_and_never_smuggled(page: Page) -> None:
    udp = {"comp": 1, "proto": "udp"}
    fields = {
        "ufrag": "abcd",
        "pwd": "p" * 22,
        "fp": "ab" * 32,
        "setup": "active",
        "cands": [
            {"ip": "192.0.2.7", "port": 4000, "prio": 2130706431, "type": "host", "found": "1"} | udp,
            {"ip": "2001:db8::1", "port": 4001, "prio": 1694498815, "type": "srflx", "found": "2"}
            | {"raddr": "192.0.2.7", "rport": 4000}
            | udp,
        ],
        "codecs": ["opus"],
        "ssrc": 1234,
    }

    sound, *refused = await page.evaluate(BUILD, fields)

    assert sound == sdp.parse(fields, sdp.Setup.ACTIVE).as_sdp()
    assert refused == ["BadSession"] * 6
