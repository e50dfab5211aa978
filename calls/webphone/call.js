// What calls of both directions share, from the tap or the ring to the end. Nothing from the network moves a call to media:
// only its user does.
//
//   outgoing: calling → reaching → ringing → connecting → connected → ended
//   incoming: incoming → answering → connecting → connected → ended

import { Transport, confirmation } from "./blob.js";
import { toB64 } from "./bytes.js";
import { claimOf, recognise, remembered } from "./contacts.js";
import { BadDeviceList, readList, safetyNumber } from "./devices.js";
import { Link, MicrophoneError } from "./media.js";
import { NoiseError } from "./noise.js";
import { Problem } from "./problem.js";
import { BadSession } from "./sdp.js";

export const MEDIA = "audio";
const SETUP_MS = 30_000;
const ALIVE_MS = 30_000;

/** The other side can't be believed: the call ends, and the server learns `security_error` and no more. */
export class Untrusted extends Error {}

const isUntrusted = (error) => [Untrusted, NoiseError, BadSession, BadDeviceList].some((kind) => error instanceof kind);

/**
 * What both directions share. `ports` = {identity, signaling, store, tone, changed()}; `changed` is called after every
 * visible change. `ended` = {reason, cause, words, problem, by} once it is over.
 */
export class Call {
  constructor(ports, { direction, phone, agreed = null }) {
    Object.assign(this, ports);
    this.direction = direction;
    this.agreed = agreed; // a claim that contradicts a contact, and that the person wants all the same
    this.id = null;
    this.key = crypto.randomUUID(); // in the list of calls
    this.peer = { phone, subscriber: null, comparison: null, change: null, mustAgree: false, verified: false };
    this.state = null;
    this.ended = null;
    this.muted = false;
    this.weak = false;
    this.beganAt = Date.now();
    this.connectedAt = null;
    this.safety = null;
  }

  get over() {
    return this.ended !== null;
  }

  become(state) {
    if (this.over || this.state === state) return;
    this.state = state;
    this.changed();
  }

  /** Reads the other side's list and compares it, and the number, with whom this phone remembers. Believes nothing yet. */
  async meet({ subscriber, list, signature }) {
    this.peer.subscriber = subscriber;
    this.list = await readList({ list, signature }, { subscriber });
    if (this.list.devices.has(this.identity.keys.device)) throw new Untrusted("The device list names this very device.");
    const { touched, ...found } = recognise(await this.store.all("contacts"), this.list, this.peer.phone, this.agreed);
    Object.assign(this.peer, found);
  }

  /** What the person agrees to with this call's tap: the keys that this very number came with. */
  get claim() {
    return claimOf(this.list, this.peer.phone);
  }

  /** A call has proved the account's keys, and the person has seen what changed: they are the contact's from now on. */
  async remember({ verified = this.peer.verified } = {}) {
    this.peer.verified = verified;
    const found = recognise(await this.store.all("contacts"), this.list, this.peer.phone, this.claim);
    await this.store.keepContact(remembered(found, this.list, this.peer.phone, verified), found.touched);
  }

  end(device) {
    const { subscriber, epoch, accountKey } = this.list;
    return { account: subscriber, device, epoch, key: toB64(accountKey), phone: this.peer.phone };
  }

  openLink(iceServers) {
    this.link = new Link({
      iceServers,
      source: this.source,
      on: {
        state: (state) => this.#linkIs(state),
        open: () => this.#guard(() => this.#channelOpen()),
        channel: (data) => this.#guard(() => this.#channelSays(data)),
      },
    });
    this.setup = setTimeout(() => this.fail("setup_failed"), SETUP_MS);
  }

  /** What the handshake gave: the transport for relayed messages and the hash that both confirm inside DTLS. */
  keep({ hash, send, receive }, role) {
    this.hash = hash;
    this.role = role;
    this.transport = new Transport({ send, receive });
  }

  async #guard(work) {
    try {
      await work();
    } catch (error) {
      this.failFor(error);
    }
  }

  async #channelOpen() {
    if (!(await this.link.peerIsExpected())) throw new Untrusted("The certificate isn't the one whose fingerprint came sealed.");
    this.link.channel.send(JSON.stringify({ confirm: await confirmation(this.role, this.hash) }));
    this.certified = true;
    await this.#maybeConnected();
  }

  async #channelSays(data) {
    const expected = await confirmation(this.role === "i" ? "r" : "i", this.hash);
    let said;
    try {
      said = JSON.parse(data).confirm;
    } catch {
      said = null;
    }
    if (said !== expected) throw new Untrusted("The other end of the media isn't the other end of the handshake.");
    this.confirmed = true;
    await this.#maybeConnected();
  }

  async #maybeConnected() {
    if (!this.certified || !this.confirmed || this.over || this.connectedAt !== null) return;
    clearTimeout(this.setup);
    this.connectedAt = Date.now();
    this.link.release();
    this.become("connected");
    this.signaling.request("connected", { call: this.id }).catch(() => {});
    this.alive = setInterval(() => this.#sayAlive(), ALIVE_MS);
    await this.remember();
    this.safety = await safetyNumber(this.list, this.identity.list.read);
    this.changed();
  }

  async #sayAlive() {
    try {
      await this.signaling.request("alive", { call: this.id, ...(this.ticket ? { ticket: this.ticket } : {}) });
    } catch (problem) {
      if (problem.code === "call_over") this.finish({ reason: problem.extra.reason ?? "lost", cause: problem.extra.cause });
    }
  }

  #linkIs(state) {
    this.weak = state === "disconnected";
    if (state === "failed") this.fail(this.connectedAt ? "media_lost" : "setup_failed");
    else this.changed();
  }

  tellHangUp() {
    this.signaling.request("end", { call: this.id, reason: "hangup" }).catch(() => {});
  }

  mute(muted) {
    this.muted = muted;
    this.link?.mute(muted);
    this.changed();
  }

  failFor(error) {
    if (this.over) return;
    if (isUntrusted(error)) this.fail("security_error");
    else if (error instanceof MicrophoneError) this.fail("setup_failed", { words: error.message });
    else if (error instanceof Problem) this.finish({ reason: error.extra.reason ?? "refused", cause: error.extra.cause, problem: error });
    else this.fail("setup_failed");
    if (!(error instanceof Problem)) console.warn("The call failed:", error.message);
  }

  /** Ends the call because of something here, and tells the server. */
  fail(reason, { words } = {}) {
    if (this.over) return;
    if (this.id) this.signaling.request("end", { call: this.id, reason }).catch(() => {});
    this.finish({ reason, words });
  }

  /** Everything stops. Safe to call twice; the first reason stays. `by` is "me" when this phone's user ended it. */
  finish({ reason, cause = null, words = null, problem = null, by = null }) {
    if (this.over) return;
    this.ended = { reason, cause, words, problem, by, at: Date.now() };
    this.state = "ended";
    clearTimeout(this.setup);
    clearInterval(this.alive);
    this.link?.close();
    this.source?.close();
    this.changed();
  }
}
