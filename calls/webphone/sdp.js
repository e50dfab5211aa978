// Session descriptions from compact fields: the same text as calls/rules/sdp.py builds. Remote SDP is never passed through:
// each side builds its own from checked fields, so nothing that a browser might read differently (a second fingerprint, another
// codec, a hidden m-line) can ride along. The callee offers ("actpass", controlling), the caller answers ("active").

export const MOST_CANDIDATES = 32;
const PAYLOAD_TYPE = 111;
const TYPES = new Set(["host", "srflx", "relay"]);

/** Fields that can't become a session; the message says which. */
export class BadSession extends Error {
  name = "BadSession";
}

function need(sound, what) {
  if (!sound) throw new BadSession(`The session's ${what} can't be used.`);
}

/** The fields of a local description that has all its candidates. Names (mDNS) and TCP candidates are left out. */
export function fieldsOf(sdp, setup) {
  const lines = sdp.split(/\r?\n/);
  const first = (start) => lines.find((line) => line.startsWith(start))?.slice(start.length).trim() ?? "";
  const fields = {
    ufrag: first("a=ice-ufrag:"),
    pwd: first("a=ice-pwd:"),
    fp: first("a=fingerprint:sha-256 ").replaceAll(":", "").toLowerCase(),
    setup,
    cands: unique(lines.map(localCandidate).filter(Boolean)).slice(0, MOST_CANDIDATES),
    codecs: ["opus"],
  };
  const ssrc = Number.parseInt(first("a=ssrc:"), 10);
  if (ssrc > 0) fields.ssrc = ssrc;
  return checkFields(fields, setup);
}

function localCandidate(line) {
  if (!line.startsWith("a=candidate:")) return null;
  const [found, comp, proto, prio, ip, port, , type, ...rest] = line.slice("a=candidate:".length).split(" ");
  const candidate = { ip, port: Number(port), prio: Number(prio), type, found, comp: Number(comp), proto: proto.toLowerCase() };
  const related = Object.fromEntries(rest.flatMap((word, at) => (at % 2 ? [] : [[word, rest[at + 1]]])));
  if (related.raddr && related.rport) Object.assign(candidate, { raddr: related.raddr, rport: Number(related.rport) });
  try {
    checkCandidate(candidate);
    return candidate;
  } catch {
    return null;
  }
}

function unique(candidates) {
  const seen = new Set();
  return candidates.filter((candidate) => {
    const key = JSON.stringify(candidate);
    return seen.has(key) ? false : seen.add(key);
  });
}

function members(value, needed, optional, what) {
  need(value !== null && typeof value === "object" && !Array.isArray(value), what);
  need(needed.every((key) => key in value), `${what} (something is missing)`);
  need(Object.keys(value).every((key) => needed.includes(key) || optional.includes(key)), `${what} (something is unknown)`);
}

/** The fields themselves when every one is sound, otherwise a BadSession: no line can be smuggled into SDP. */
export function checkFields(fields, setup) {
  members(fields, ["ufrag", "pwd", "fp", "setup", "cands", "codecs"], ["ssrc"], "shape");
  const { ufrag, pwd, fp, cands, codecs, ssrc } = fields;
  need(typeof ufrag === "string" && /^[A-Za-z0-9+/]{4,256}$/.test(ufrag), "ICE name");
  need(typeof pwd === "string" && /^[A-Za-z0-9+/]{22,256}$/.test(pwd), "ICE password");
  need(typeof fp === "string" && /^[0-9a-f]{64}$/.test(fp), "fingerprint");
  need(fields.setup === setup, "DTLS role");
  need(Array.isArray(codecs) && codecs.length === 1 && codecs[0] === "opus", "codecs (only Opus is spoken)");
  need(ssrc === undefined || isWhole(ssrc, 1, 2 ** 32 - 1), "SSRC");
  need(Array.isArray(cands) && cands.length >= 1 && cands.length <= MOST_CANDIDATES, "number of addresses");
  cands.forEach(checkCandidate);
  return fields;
}

function checkCandidate(candidate) {
  members(candidate, ["ip", "port", "prio", "type", "found", "comp", "proto"], ["raddr", "rport"], "address");
  const { ip, port, prio, type, found, comp, proto, raddr, rport } = candidate;
  need(isAddress(ip) && !isUnspecifiedOrMulticast(ip), "address (it must be an IP address of one host)");
  need(isWhole(port, 1, 65535) && isWhole(prio, 1, 2 ** 31 - 1), "port or priority");
  need(TYPES.has(type) && comp === 1 && proto === "udp", "kind of address");
  need(typeof found === "string" && /^[A-Za-z0-9+/]{1,32}$/.test(found), "foundation");
  need((raddr === undefined) === (rport === undefined), "related address");
  need(raddr === undefined || (isAddress(raddr) && isWhole(rport, 0, 65535)), "related address");
}

function isWhole(value, least, most) {
  return Number.isInteger(value) && value >= least && value <= most;
}

export function isAddress(value) {
  if (typeof value !== "string" || value.length > 45) return false;
  if (!value.includes(":")) {
    const parts = value.split(".");
    return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
  }
  if (!/^[0-9a-fA-F:.]+$/.test(value)) return false;
  return URL.canParse(`http://[${value}]/`); // the browser's own reading of IPv6
}

function isUnspecifiedOrMulticast(ip) {
  if (ip.includes(":")) return ip === "::" || /^ff/i.test(ip);
  const first = Number(ip.split(".")[0]);
  return ip === "0.0.0.0" || (first >= 224 && first <= 239);
}

/** The other side's SDP: an audio m-line (mid 0) and a data channel (mid 1), bundled, Opus at a constant bit rate. */
export function buildSdp(fields, setup) {
  const { ufrag, pwd, fp, cands, ssrc } = checkFields(fields, setup);
  const transport = [
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${pwd}`,
    `a=fingerprint:sha-256 ${fp.toUpperCase().match(/../g).join(":")}`,
    `a=setup:${setup}`,
  ];
  const lines = [
    "v=0",
    "o=- 1 1 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0 1",
    "a=msid-semantic:WMS *",
    `m=audio 9 UDP/TLS/RTP/SAVPF ${PAYLOAD_TYPE}`,
    "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0",
    "a=rtcp-mux",
    "a=mid:0",
    "a=sendrecv",
    "a=msid:rollcall audio",
    `a=rtpmap:${PAYLOAD_TYPE} opus/48000/2`,
    `a=fmtp:${PAYLOAD_TYPE} minptime=10;useinbandfec=1;cbr=1;maxaveragebitrate=24000`,
    ...(ssrc === undefined ? [] : [`a=ssrc:${ssrc} cname:rollcall`]),
    ...transport,
    ...cands.map(candidateLine),
    "a=end-of-candidates",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    "a=mid:1",
    "a=sctp-port:5000",
    "a=max-message-size:65536",
    ...transport,
  ];
  return `${lines.join("\r\n")}\r\n`;
}

function candidateLine({ found, prio, ip, port, type, raddr, rport }) {
  const related = raddr === undefined ? "" : ` raddr ${raddr} rport ${rport}`;
  return `a=candidate:${found} 1 udp ${prio} ${ip} ${port} typ ${type}${related}`;
}
