"""Session fields ⇄ SDP: what goes in comes out, and nothing else can."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.rules.sdp import BadSession, Setup, from_sdp, parse

HOST = {"ip": "127.0.0.1", "port": 4000, "prio": 2130706431, "type": "host", "found": "1", "comp": 1, "proto": "udp"}
FIELDS: dict[str, Any] = {
    "ufrag": "abcd",
    "pwd": "p" * 22,
    "fp": "0a" * 32,
    "setup": "actpass",
    "cands": [HOST],
    "codecs": ["opus"],
}
AIORTC = "\r\n".join(
    [
        "v=0",
        "m=audio 50000 UDP/TLS/RTP/SAVPF 96 0 8",
        "c=IN IP4 127.0.0.1",
        "a=ssrc:12345 cname:x",
        "a=candidate:f1 1 udp 2130706431 127.0.0.1 50000 typ host",
        "a=candidate:f1 1 udp 2130706431 127.0.0.1 50000 typ host",
        "a=candidate:f2 2 udp 2130706430 127.0.0.1 50001 typ host",
        "a=candidate:f3 1 tcp 2130706429 127.0.0.1 9 typ host tcptype active",
        "a=candidate:f4 1 udp 2130706428 0b2c.local 50002 typ host",
        "a=candidate:f5 1 udp 1694498815 192.0.2.9 50003 typ srflx raddr 127.0.0.1 rport 50000",
        "a=end-of-candidates",
        "a=ice-ufrag:UFRG",
        "a=ice-pwd:" + "q" * 22,
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=fingerprint:sha-384 " + ":".join(["CD"] * 48),
        "a=fingerprint:sha-512 " + ":".join(["EF"] * 64),
        "a=setup:actpass",
        "m=application 50000 UDP/DTLS/SCTP webrtc-datachannel",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "",
    ]
)


def test_parse__good_fields__come_back_as_they_were() -> None:
    relay = {**HOST, "type": "relay", "ip": "2001:db8::1", "raddr": "0.0.0.0", "rport": 0}
    fields = {**FIELDS, "cands": [HOST, relay], "ssrc": 7}

    assert parse(fields, Setup.ACTPASS).as_json() == fields


def test_sdp__built_from_fields__is_the_text_of_the_contract() -> None:
    text = parse({**FIELDS, "ssrc": 7}, Setup.ACTPASS).as_sdp()

    fingerprint = ":".join(["0A"] * 32)
    transport = [
        "a=ice-ufrag:abcd",
        "a=ice-pwd:" + "p" * 22,
        f"a=fingerprint:sha-256 {fingerprint}",
        "a=setup:actpass",
    ]
    assert text.split("\r\n") == [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=msid-semantic:WMS *",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=rtcp-mux",
        "a=mid:0",
        "a=sendrecv",
        "a=msid:rollcall audio",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1;cbr=1;maxaveragebitrate=24000",
        "a=ssrc:7 cname:rollcall",
        *transport,
        "a=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host",
        "a=end-of-candidates",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=sctp-port:5000",
        "a=max-message-size:65536",
        *transport,
        "",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"setup": "active"},
        {"setup": "passive"},
        {"codecs": ["opus", "pcmu"]},
        {"codecs": []},
        {"ufrag": "abc"},
        {"ufrag": "ab d"},
        {"ufrag": "abcd\r\na=x:y"},
        {"ufrag": "abcd\n"},
        {"ufrag": "a" * 257},
        {"ufrag": 5},
        {"pwd": "p" * 21},
        {"pwd": "p" * 21 + "é"},
        {"fp": "0A" * 32},
        {"fp": "0a" * 31},
        {"fp": "0a" * 32 + "\n"},
        {"fp": ["0a" * 32, "0b" * 32]},
        {"cands": []},
        {"cands": [HOST] * 33},
        {"cands": {}},
        {"ssrc": 0},
        {"ssrc": 2**32},
        {"ssrc": True},
        {"ssrc": "7"},
        {"sdp": "v=0"},
    ],
    ids=lambda change: f"{next(iter(change))}={next(iter(change.values()))!r:.20}",
)
def test_parse__bad_field__is_refused(change: dict) -> None:
    with pytest.raises(BadSession):
        parse({**copy.deepcopy(FIELDS), **change}, Setup.ACTPASS)


@pytest.mark.parametrize(
    "change",
    [
        {"ip": "example.org"},
        {"ip": "abc.local"},
        {"ip": "127.0.0.1 9 typ host\r\na=x"},
        {"ip": "fe80::1%eth0"},
        {"ip": "0.0.0.0"},
        {"ip": "224.0.0.1"},
        {"ip": "0177.0.0.1"},
        {"ip": 2130706433},
        {"port": 0},
        {"port": 65536},
        {"port": "9"},
        {"port": 9.0},
        {"prio": 0},
        {"prio": 2**31},
        {"type": "prflx"},
        {"type": ["host"]},
        {"found": ""},
        {"found": "a b"},
        {"found": "f" * 33},
        {"comp": 2},
        {"comp": True},
        {"proto": "tcp"},
        {"raddr": "10.0.0.1"},
        {"raddr": "host.example", "rport": 9},
        {"raddr": "10.0.0.1", "rport": -1},
        {"tcptype": "active"},
    ],
    ids=lambda change: f"{next(iter(change))}={next(iter(change.values()))!r:.20}",
)
def test_parse__bad_candidate__is_refused(change: dict) -> None:
    with pytest.raises(BadSession):
        parse({**FIELDS, "cands": [{**HOST, **change}]}, Setup.ACTPASS)


@pytest.mark.parametrize("missing", sorted(FIELDS))
def test_parse__missing_field__is_refused(missing: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != missing}

    with pytest.raises(BadSession, match=missing):
        parse(fields, Setup.ACTPASS)


@pytest.mark.parametrize("value", [None, [], "v=0\r\n", 5])
def test_parse__no_object__is_refused(value: object) -> None:
    with pytest.raises(BadSession):
        parse(value, Setup.ACTPASS)


@given(st.sampled_from(["ufrag", "pwd", "fp"]), st.text(max_size=80))
def test_sdp__whatever_the_text__has_exactly_one_fingerprint_per_section(name: str, text: str) -> None:
    try:
        session = parse({**FIELDS, name: text}, Setup.ACTPASS)
    except BadSession:
        return

    lines = session.as_sdp().split("\r\n")
    assert len(lines) == len(parse(FIELDS, Setup.ACTPASS).as_sdp().split("\r\n"))
    assert sum(line.startswith("a=fingerprint:") for line in lines) == 2


def test_from_sdp__local_description_of_aiortc__keeps_only_what_we_send() -> None:
    session = from_sdp(AIORTC, Setup.ACTPASS)

    assert session.fp == "ab" * 32
    assert (session.ufrag, session.pwd, session.ssrc) == ("UFRG", "q" * 22, 12345)
    assert [(c.ip, c.port, str(c.type), c.raddr) for c in session.cands] == [
        ("127.0.0.1", 50000, "host", None),
        ("192.0.2.9", 50003, "srflx", "127.0.0.1"),
    ]
    assert parse(session.as_json(), Setup.ACTPASS) == session


def test_from_sdp__no_candidate_or_two_different_fingerprints__is_refused() -> None:
    without = "\r\n".join(line for line in AIORTC.split("\r\n") if not line.startswith("a=candidate"))
    twice = AIORTC.replace("m=application", "a=fingerprint:sha-256 " + ":".join(["AC"] * 32) + "\r\nm=application")

    with pytest.raises(BadSession, match="candidate"):
        from_sdp(without, Setup.ACTPASS)
    with pytest.raises(BadSession, match="fingerprint"):
        from_sdp(twice, Setup.ACTPASS)


def test_session__repr__shows_no_address_and_no_secret() -> None:
    shown = repr(parse(FIELDS, Setup.ACTPASS))

    assert "127.0.0.1" not in shown
    assert "pppp" not in shown
