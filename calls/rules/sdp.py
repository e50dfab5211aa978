"""Compact session fields ⇄ SDP text. Remote SDP is never passed through: each side builds its own from the fields.

The Python phone (aiortc) and the web phone (Chromium) build the very same text. What follows is the contract; the
lines are joined by CRLF and end with CRLF. `{…}` is filled in, `?` marks a line that is left out when there is nothing.

    v=0
    o=- 1 1 IN IP4 0.0.0.0
    s=-
    t=0 0
    a=group:BUNDLE 0 1
    a=msid-semantic:WMS *
    m=audio 9 UDP/TLS/RTP/SAVPF 111
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=rtcp-mux
    a=mid:0
    a=sendrecv
    a=msid:rollcall audio
    a=rtpmap:111 opus/48000/2
    a=fmtp:111 minptime=10;useinbandfec=1;cbr=1;maxaveragebitrate=24000
  ? a=ssrc:{ssrc} cname:rollcall
    a=ice-ufrag:{ufrag}
    a=ice-pwd:{pwd}
    a=fingerprint:sha-256 {fp as upper-case pairs joined by colons}
    a=setup:{setup}
  ? a=candidate:{found} {comp} {proto} {prio} {ip} {port} typ {type}[ raddr {raddr} rport {rport}]   (one per candidate)
    a=end-of-candidates
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=mid:1
    a=sctp-port:5000
    a=max-message-size:65536
    a=ice-ufrag:{ufrag}
    a=ice-pwd:{pwd}
    a=fingerprint:sha-256 {…}
    a=setup:{setup}

Roles: the *callee* (who accepts) sends the offer with `setup` "actpass" and is the controlling ICE agent and the DTLS
server; the *caller* answers with `setup` "active" and is the DTLS client. Both put the audio track first and then the
negotiated data channel (id 0, label "rollcall"), with `bundlePolicy: "max-bundle"` and explicit `iceServers`.

Fields (JSON): {"ufrag", "pwd", "fp": 64 lower-case hex digits, "setup", "cands": [{"ip", "port", "prio", "type",
"found", "comp": 1, "proto": "udp", "raddr"?, "rport"?}], "codecs": ["opus"], "ssrc"?}. Unknown members are refused,
names instead of addresses (mDNS) too: a phone leaves such candidates out, with those of TCP and of component 2.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MOST_CANDIDATES = 32
PAYLOAD_TYPE = 111

SESSION_LINES = (
    "v=0",
    "o=- 1 1 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0 1",
    "a=msid-semantic:WMS *",
)
AUDIO_LINES = (
    f"m=audio 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPE}",
    "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0",
    "a=rtcp-mux",
    "a=mid:0",
    "a=sendrecv",
    "a=msid:rollcall audio",
    f"a=rtpmap:{PAYLOAD_TYPE} opus/48000/2",
    f"a=fmtp:{PAYLOAD_TYPE} minptime=10;useinbandfec=1;cbr=1;maxaveragebitrate=24000",
)
DATA_LINES = (
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    "a=mid:1",
    "a=sctp-port:5000",
    "a=max-message-size:65536",
)

_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BadSession(ValueError):
    """The fields can't become a session; the message says which member is wrong."""


class Setup(StrEnum):
    ACTPASS = "actpass"
    ACTIVE = "active"


class CandidateType(StrEnum):
    HOST = "host"
    SRFLX = "srflx"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address where a phone can be reached: an IP literal and a UDP port."""

    ip: str
    port: int
    prio: int
    type: CandidateType
    found: str
    raddr: str | None = None
    rport: int | None = None

    def as_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "ip": self.ip,
            "port": self.port,
            "prio": self.prio,
            "type": str(self.type),
            "found": self.found,
            "comp": 1,
            "proto": "udp",
        }
        if self.raddr is not None:
            fields |= {"raddr": self.raddr, "rport": self.rport}
        return fields

    def as_line(self) -> str:
        line = f"a=candidate:{self.found} 1 udp {self.prio} {self.ip} {self.port} typ {self.type}"
        return line if self.raddr is None else f"{line} raddr {self.raddr} rport {self.rport}"


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """What one phone tells the other about its end of the media: everything that SDP would say, and nothing else."""

    ufrag: str
    pwd: str
    fp: str
    setup: Setup
    cands: tuple[Candidate, ...]
    ssrc: int | None = None

    def __repr__(self) -> str:
        return f"Session({self.setup}, {len(self.cands)} candidates, redacted)"

    def as_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "ufrag": self.ufrag,
            "pwd": self.pwd,
            "fp": self.fp,
            "setup": str(self.setup),
            "cands": [candidate.as_json() for candidate in self.cands],
            "codecs": ["opus"],
        }
        return fields if self.ssrc is None else {**fields, "ssrc": self.ssrc}

    def as_sdp(self) -> str:
        """The SDP text of the module's docstring."""
        pairs = ":".join(self.fp[at : at + 2] for at in range(0, 64, 2)).upper()
        transport = (
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.pwd}",
            f"a=fingerprint:sha-256 {pairs}",
            f"a=setup:{self.setup}",
        )
        ssrc = () if self.ssrc is None else (f"a=ssrc:{self.ssrc} cname:rollcall",)
        candidates = (*(candidate.as_line() for candidate in self.cands), "a=end-of-candidates")
        lines = (*SESSION_LINES, *AUDIO_LINES, *ssrc, *transport, *candidates, *DATA_LINES, *transport)
        return "\r\n".join(lines) + "\r\n"


def parse(fields: object, expected: Setup) -> Session:
    """Strictly read the fields that the peer sealed. Raises `BadSession`; the result can't smuggle a line into SDP."""
    body = _members(fields, "session", {"ufrag", "pwd", "fp", "setup", "cands", "codecs"}, optional={"ssrc"})
    if body["setup"] != expected:
        raise BadSession(f"setup must be {expected}.")
    if body["codecs"] != ["opus"]:
        raise BadSession('codecs must be ["opus"].')
    cands = body["cands"]
    if not isinstance(cands, list) or not 1 <= len(cands) <= MOST_CANDIDATES:
        raise BadSession(f"cands must hold 1 to {MOST_CANDIDATES} candidates.")
    return Session(
        ufrag=_ice_chars(body["ufrag"], "ufrag", 4, 256),
        pwd=_ice_chars(body["pwd"], "pwd", 22, 256),
        fp=_fingerprint(body["fp"]),
        setup=expected,
        cands=tuple(_candidate(entry) for entry in cands),
        ssrc=_number(body["ssrc"], "ssrc", 1, 2**32 - 1) if "ssrc" in body else None,
    )


def from_sdp(text: str, setup: Setup) -> Session:
    """Take the fields out of the local stack's own description.

    Of several fingerprints only the SHA-256 one counts (aiortc writes three); candidates that aren't UDP addresses of
    component 1 are left out, and so is what exceeds 32. Raises `BadSession` where something necessary is missing.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    prints = {
        line.split(" ", 1)[1].strip().replace(":", "").lower()
        for line in lines
        if line.lower().startswith("a=fingerprint:sha-256 ")
    }
    if len(prints) != 1:
        raise BadSession("The local description must hold exactly one SHA-256 fingerprint.")
    found: list[Candidate] = []
    for line in lines:
        if line.startswith("a=candidate:"):
            candidate = _local_candidate(line.removeprefix("a=candidate:").split())
            if candidate is not None and candidate not in found:
                found.append(candidate)
    if not found:
        raise BadSession("The local description holds no usable candidate.")
    ssrc = _first(lines, "a=ssrc:")
    return Session(
        ufrag=_ice_chars(_first(lines, "a=ice-ufrag:"), "ufrag", 4, 256),
        pwd=_ice_chars(_first(lines, "a=ice-pwd:"), "pwd", 22, 256),
        fp=_fingerprint(prints.pop()),
        setup=setup,
        cands=tuple(found[:MOST_CANDIDATES]),
        ssrc=int(ssrc.split()[0]) if ssrc else None,
    )


def _first(lines: Sequence[str], start: str) -> str:
    return next((line.removeprefix(start).strip() for line in lines if line.startswith(start)), "")


def _local_candidate(words: Sequence[str]) -> Candidate | None:
    """A candidate line of the local stack, or None where it is none that we send."""
    if len(words) < 8 or words[1] != "1" or words[2].lower() != "udp":
        return None
    try:
        entry: dict[str, Any] = {
            "found": words[0],
            "comp": 1,
            "proto": "udp",
            "prio": int(words[3]),
            "ip": words[4],
            "port": int(words[5]),
            "type": words[7],
        }
        extra = dict(zip(words[8::2], words[9::2], strict=False))
        if "raddr" in extra and "rport" in extra:
            entry |= {"raddr": extra["raddr"], "rport": int(extra["rport"])}
        return _candidate(entry)
    except ValueError:  # BadSession is one
        return None


def _members(value: object, where: str, needed: set[str], *, optional: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadSession(f"{where} must be an object.")
    if missing := needed - value.keys():
        raise BadSession(f"{where} lacks {min(missing)}.")
    if value.keys() - needed - optional:
        raise BadSession(f"{where} has members that nobody knows.")
    return value


def _ice_chars(value: object, where: str, least: int, most: int) -> str:
    if not isinstance(value, str) or not least <= len(value) <= most or not _ICE_CHARS.fullmatch(value):
        raise BadSession(f"{where} must be {least} to {most} letters, digits, + or /.")
    return value


def _fingerprint(value: object) -> str:
    if not isinstance(value, str) or not _FINGERPRINT.fullmatch(value):
        raise BadSession("fp must be 64 lower-case hexadecimal digits.")
    return value


def _number(value: object, where: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadSession(f"{where} must be a whole number from {least} to {most}.")
    return value


def _address(value: object, where: str) -> str:
    if not isinstance(value, str) or "%" in value or len(value) > 45:
        raise BadSession(f"{where} must be an IP address.")
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        raise BadSession(f"{where} must be an IP address, never a name.") from error


def _candidate(value: object) -> Candidate:
    needed = {"ip", "port", "prio", "type", "found", "comp", "proto"}
    body = _members(value, "candidate", needed, optional={"raddr", "rport"})
    if _number(body["comp"], "comp", 1, 1) != 1 or body["proto"] != "udp":
        raise BadSession("comp must be 1 and proto udp.")
    if not isinstance(body["type"], str) or body["type"] not in set(CandidateType):
        raise BadSession("type must be host, srflx or relay.")
    if ("raddr" in body) != ("rport" in body):
        raise BadSession("raddr and rport go together.")
    ip = _address(body["ip"], "ip")
    if ipaddress.ip_address(ip).is_unspecified or ipaddress.ip_address(ip).is_multicast:
        raise BadSession("ip must be the address of one host.")
    return Candidate(
        ip=ip,
        port=_number(body["port"], "port", 1, 65535),
        prio=_number(body["prio"], "prio", 1, 2**31 - 1),
        type=CandidateType(body["type"]),
        found=_ice_chars(body["found"], "found", 1, 32),
        raddr=_address(body["raddr"], "raddr") if "raddr" in body else None,
        rport=_number(body["rport"], "rport", 0, 65535) if "rport" in body else None,
    )
