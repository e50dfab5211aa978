// Whose keys these are: the signed, numbered, chained list of an account's devices, and the number that people compare.
// The same rules as calls/rules/devices.py.

import { canonicalJson, concat, equal, fromB64, fromHex, sha256, sha512, text, toB64, utf8 } from "./bytes.js";

const SIGNED_AS = utf8("rollcall device list v1\x00");
const REGISTRATION_AS = utf8("rollcall registration v1\x00");
const SAFETY_AS = utf8("rollcall safety number v1\x00");
const SAFETY_ROUNDS = 5200;
const MOST_DEVICES = 32;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A device list that can't be believed; the message says why. */
export class BadDeviceList extends Error {
  name = "BadDeviceList";
}

function need(sound, message) {
  if (!sound) throw new BadDeviceList(message);
}

/** Signs a list of this account's devices. `previous` is the bytes of the list before it, or null for the first one. */
export async function signList({ accountKey, subscriber, epoch, previous, devices }) {
  const body = canonicalJson({
    v: 1,
    subscriber,
    epoch,
    account_key: toB64(accountKey.publicBytes),
    previous: previous ? toB64(await sha256(previous)) : "",
    devices: [...devices].sort((a, b) => (a.id < b.id ? -1 : 1)),
  });
  const signature = await crypto.subtle.sign({ name: "Ed25519" }, accountKey.privateKey, concat(SIGNED_AS, body));
  return { list: toB64(body), signature: toB64(new Uint8Array(signature)) };
}

/** Shows, with a challenge's code, that whoever registers this device holds the account's key. */
export async function signRegistration({ accountKey, challenge, device: { id, ed25519, x25519 } }) {
  const uuid = (written) => fromHex(written.replaceAll("-", ""));
  const said = concat(REGISTRATION_AS, uuid(challenge), uuid(id), fromB64(ed25519), fromB64(x25519));
  return toB64(new Uint8Array(await crypto.subtle.sign({ name: "Ed25519" }, accountKey.privateKey, said)));
}

/** The list as a value, where it is canonical, this subscriber's, and signed by the account key that it names. */
export async function readList({ list, signature }, { subscriber }) {
  let body;
  let value;
  try {
    body = fromB64(list);
    value = parse(body);
  } catch (error) {
    throw error instanceof BadDeviceList ? error : new BadDeviceList("The device list can't be read.", { cause: error });
  }
  const accountKey = key32(value.account_key);
  const key = await crypto.subtle.importKey("raw", accountKey, { name: "Ed25519" }, true, ["verify"]);
  const believed = await crypto.subtle.verify({ name: "Ed25519" }, key, fromB64(signature), concat(SIGNED_AS, body));
  need(believed, "The device list isn't signed by the account key that it names.");
  need(value.subscriber === subscriber, "The device list is somebody else's.");
  const devices = new Map(value.devices.map((device) => [device.id, device]));
  const digest = toB64(await sha256(body));
  return { subscriber, epoch: value.epoch, accountKey, previous: value.previous, devices, body, digest };
}

function parse(body) {
  need(body.length <= 16_384, "The device list is too long.");
  const value = JSON.parse(text(body));
  need(value?.v === 1, "The device list has a version that we don't know.");
  const { devices, epoch, previous, subscriber } = value;
  need(Array.isArray(devices) && devices.length >= 1 && devices.length <= MOST_DEVICES, "A device list holds 1 to 32 devices.");
  const ids = devices.map(({ id, ed25519, x25519 }) => {
    need(UUID.test(id) && key32(ed25519) && key32(x25519), "A device of the list can't be read.");
    return id;
  });
  need(new Set(ids).size === ids.length, "The device list names a device twice.");
  need(ids.every((id, at) => at === 0 || ids[at - 1] < id), "The device list isn't in its canonical form.");
  need(Number.isInteger(epoch) && epoch >= 1 && epoch < 2 ** 31, "The device list's epoch must be a whole number from 1.");
  const length = fromB64(previous).length;
  need(epoch === 1 ? length === 0 : length === 32, "The device list must name the hash of the one before it.");
  need(UUID.test(subscriber), "The device list names nobody.");
  const known = { v: 1, subscriber, epoch, account_key: value.account_key, previous, devices: devices.map(keysOnly) };
  need(equal(canonicalJson(known), body), "The device list isn't in its canonical form.");
  return value;
}

const keysOnly = ({ id, ed25519, x25519 }) => ({ id, ed25519, x25519 });

function key32(encoded) {
  const key = fromB64(encoded);
  need(key.length === 32 && toB64(key) === encoded, "A key has 32 bytes.");
  return key;
}

/**
 * How a list stands to what this phone remembers of the account (a pin, or null): "first_seen", "same", "newer" or
 * "key_changed" (visible to people). A list that goes back or forks throws: it can't be believed.
 */
export function compare(list, pin) {
  if (pin === null) return "first_seen";
  if (toB64(list.accountKey) !== pin.accountKey) return "key_changed"; // epochs count under one key only
  need(list.epoch >= pin.epoch, "The other side's device list is older than one that this phone has seen.");
  if (list.epoch === pin.epoch) {
    need(list.digest === pin.digest, "Two device lists of the other side carry the same number.");
    return "same";
  }
  need(list.epoch !== pin.epoch + 1 || list.previous === pin.digest, "The other side's device list doesn't follow the last one.");
  return "newer";
}

export function pinOf(list) {
  return { accountKey: toB64(list.accountKey), epoch: list.epoch, digest: list.digest };
}

/** Sixty digits for two accounts ({accountKey, subscriber} each), the same in either order. */
export async function safetyNumber(one, other) {
  const halves = await Promise.all([half(one), half(other)]);
  return halves.sort().join("");
}

async function half({ accountKey, subscriber }) {
  let value = await sha512(concat(SAFETY_AS, accountKey, utf8(subscriber)));
  for (let round = 1; round < SAFETY_ROUNDS; round += 1) value = await sha512(concat(value, accountKey));
  let digits = "";
  for (let at = 0; at < 30; at += 5) {
    const number = value.subarray(at, at + 5).reduce((sum, byte) => sum * 256 + byte, 0);
    digits += String(number % 100_000).padStart(5, "0");
  }
  return digits;
}
