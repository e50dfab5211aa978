// Whom this phone remembers: which account key answers under which number, and what a change of either is called.
// The same rules as calls/rules/contacts.py.

import { toB64 } from "./bytes.js";
import { compare, pinOf } from "./devices.js";

/** What changed: {who} is how the person is shown. */
const WORDS = {
  key: "The safety number of {who} has changed: a new phone, or somebody in between.",
  number: "{who} answers with another account than before: the number has a new owner, or somebody pretends.",
  moved: "{who} is an account that you know under another number: a new number, or somebody pretends.",
};

export function changeWords(change, who) {
  return WORDS[change].replace("{who}", who);
}

/** A number (null: not known) that came with an account and its key. */
export function claimOf(list, phone) {
  return { phone, subscriber: list.subscriber, accountKey: toB64(list.accountKey) };
}

/**
 * How a verified list and the number that it came with stand to the contacts ({phone, subscriber, accountKey, epoch, digest,
 * verified}): {comparison, change, touched, verified, mustAgree}. `agreed` is a claim whose changes the person has agreed to:
 * it counts as seen for the first time. A list that goes back or forks throws.
 */
export function recognise(contacts, list, phone, agreed = null) {
  const claim = claimOf(list, phone);
  const touched = contacts.filter((contact) => touches(contact, claim));
  const change = changeOf(touched, claim);
  const found = { change: null, touched, verified: false, mustAgree: false };
  if (change === null) {
    const [pin = null] = touched;
    return { ...found, comparison: compare(list, pin), verified: pin?.verified === true };
  }
  if (agreed && same(agreed, claim)) return { ...found, comparison: "first_seen" };
  return { ...found, comparison: "key_changed", change, mustAgree: touched.some(({ verified }) => verified) };
}

/** The contact that takes the place of all that `found` touched, once a call has proved the keys. */
export function remembered(found, list, phone, verified) {
  const known = found.touched.find((contact) => contact.phone)?.phone ?? null;
  return { ...pinOf(list), phone: phone ?? known, subscriber: list.subscriber, verified };
}

const same = (one, other) => ["phone", "subscriber", "accountKey"].every((member) => one[member] === other[member]);

function touches(contact, { phone, subscriber, accountKey }) {
  return (phone !== null && contact.phone === phone) || contact.subscriber === subscriber || contact.accountKey === accountKey;
}

function changeOf(touched, claim) {
  const others = touched.filter(({ accountKey }) => accountKey !== claim.accountKey);
  if (others.some(({ subscriber }) => subscriber === claim.subscriber)) return "key";
  if (others.length > 0) return "number";
  const moved = ({ phone }) => phone !== null && claim.phone !== null && phone !== claim.phone;
  return touched.some((contact) => moved(contact) || contact.subscriber !== claim.subscriber) ? "moved" : null;
}
