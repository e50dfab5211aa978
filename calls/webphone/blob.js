// What travels sealed between two phones: padded JSON, what a handshake is bound to, and the counters of the messages after it.
// The same bytes as calls/rules/blob.py.

import { EMPTY, canonicalJson, concat, sha256, text, toB64, utf8 } from "./bytes.js";
import { NoiseError } from "./noise.js";

const SIZES = [256, 512, 1024, 2048, 4096];
const COUNTER_LENGTH = 8;
export const LIFETIME_S = 60;

/** Two bytes of length (big-endian), the JSON, zeros up to the least of the sizes that holds it all. */
export function pad(value) {
  const json = canonicalJson(value);
  const size = SIZES.find((candidate) => candidate >= json.length + 2);
  if (size === undefined) throw new RangeError(`A message of ${json.length} bytes is too long for a blob.`);
  const padded = new Uint8Array(size);
  new DataView(padded.buffer).setUint16(0, json.length);
  padded.set(json, 2);
  return padded;
}

/** The value in a padded message. The padding must be zeros and the length must fit: anything else is refused. */
export function unpad(padded) {
  if (!SIZES.includes(padded.length)) throw new NoiseError("A message has a size that nobody sends.");
  const length = new DataView(padded.buffer, padded.byteOffset).getUint16(0);
  if (length + 2 > padded.length) throw new NoiseError("A message says that it is longer than it is.");
  if (padded.subarray(length + 2).some((byte) => byte !== 0)) throw new NoiseError("The padding of a message is not empty.");
  try {
    return JSON.parse(text(padded.subarray(2, length + 2)));
  } catch (error) {
    throw new NoiseError("A message is not JSON.", { cause: error });
  }
}

/** The bytes that bind a handshake to everything that the server sees of the call; an end is {account, device, epoch, key, phone}.
 *  The numbers are as each end knows them: a server that lies about one breaks the handshake. */
export function prologue({ call, caller, callee, media, lifetime }) {
  return canonicalJson({ v: 2, call, caller, callee, media, lifetime });
}

/**
 * Whether a first message was sealed within a handshake's lifetime of `now`, before or after (ms). Both times are phones' own,
 * so no server can stretch them; clocks may differ by the lifetime.
 */
export function isFresh(sealedAt, now) {
  if (!Number.isInteger(sealedAt)) throw new NoiseError("A first message must say when it was sealed.");
  return Math.abs(now - sealedAt) <= LIFETIME_S * 1000;
}

/** What `role` ("i" called, "r" answered) says inside DTLS: both ends of the media are both ends of the handshake. */
export async function confirmation(role, handshakeHash) {
  return toB64(await sha256(concat(utf8("rollcall confirm v1"), utf8(role), handshakeHash)));
}

/** The two directions after the handshake. Every message carries its counter; one that came before is refused. */
export class Transport {
  #send;
  #receive;
  #next = 0n;
  #seen = new Set();

  constructor({ send, receive }) {
    this.#send = send;
    this.#receive = receive;
  }

  /** The bytes to relay. A retry must send these same bytes again, never seal twice. */
  async seal(value) {
    const counter = this.#next;
    this.#next += 1n;
    const prefix = new Uint8Array(COUNTER_LENGTH);
    new DataView(prefix.buffer).setBigUint64(0, counter);
    return concat(prefix, await this.#send.seal(counter, EMPTY, pad(value)));
  }

  /** The value, or null for a message that was read before (the relay delivers at least once). */
  async open(message) {
    if (message.length < COUNTER_LENGTH) throw new NoiseError("A relayed message is too short.");
    const counter = new DataView(message.buffer, message.byteOffset).getBigUint64(0);
    const value = unpad(await this.#receive.open(counter, EMPTY, message.slice(COUNTER_LENGTH)));
    if (this.#seen.has(counter)) return null;
    this.#seen.add(counter);
    return value;
  }
}
