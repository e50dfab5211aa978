// One call on this phone, from the tap or the ring to its end. Nothing from the network moves it to media: only its user does.
//
//   outgoing: calling → reaching → ringing → connecting → connected → ended
//   incoming: incoming → answering → connecting → connected → ended

import { Transport, confirmation, pad, prologue, unpad } from "./blob.js";
import { fromB64, toB64 } from "./bytes.js";
import { pinOf, readList, safetyNumber, standing, BadDeviceList } from "./devices.js";
import { Link, MicrophoneError, Source } from "./media.js";
import { Initiator, NoiseError, Responder } from "./noise.js";
import { Problem } from "./problem.js";
import { BadSession } from "./sdp.js";

const MEDIA = "audio";
const LIFETIME_S = 60;
const SETUP_MS = 30_000;
const ALIVE_MS = 30_000;
const FIRST_PAYLOAD = { media: MEDIA, caps: ["opus"] };

/** The other side can't be believed: the call ends, and the server learns `security_error` and no more. */
class Untrusted extends Error {}

const isUntrusted = (error) => [Untrusted, NoiseError, BadSession, BadDeviceList].some((kind) => error instanceof kind);

/**
 * What both directions share. `ports` = {identity, signaling, store, tone, changed()}; `changed` is called after every
 * visible change. `ended` = {reason, cause, words, problem, by} once it is over.
 */
class Call {
  constructor(ports, { direction, phone }) {
    Object.assign(this, ports);
    this.direction = direction;
    this.id = null;
    this.peer = { phone, subscriber: null, standing: null, verified: false };
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

  /** Reads the other side's list and compares it with what this phone remembers of the account. */
  async meet({ subscriber, list, signature }) {
    this.peer.subscriber = subscriber;
    this.list = await readList({ list, signature }, { subscriber });
    if (this.list.devices.has(this.identity.keys.device)) throw new Untrusted("The device list names this very device.");
    const pin = await this.store.get("peers", subscriber);
    this.peer.standing = standing(this.list, pin);
    this.peer.verified = Boolean(pin?.verified) && this.peer.standing !== "key_changed";
    this.peer.mustAgree = Boolean(pin?.verified) && this.peer.standing === "key_changed";
  }

  /** Remembers the account's keys, once the handshake has proved them. */
  async remember({ verified = this.peer.verified } = {}) {
    this.peer.verified = verified;
    await this.store.put("peers", this.peer.subscriber, { ...pinOf(this.list), verified });
  }

  end(device) {
    const { subscriber, epoch, accountKey } = this.list;
    return { account: subscriber, device, epoch, key: toB64(accountKey) };
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

export class OutgoingCall extends Call {
  #handshakes = new Map();
  #invited = null;

  constructor(ports, phone) {
    super(ports, { direction: "out", phone });
  }

  async start() {
    this.become("calling");
    try {
      await this.#start();
    } catch (error) {
      if (error instanceof Problem && error.code === "glare") this.finish({ reason: "glare_merged", cause: error.extra.call });
      else this.failFor(error);
    }
  }

  async #start() {
    this.source = await Source.open(this.tone);
    if (this.over) return this.source.close();
    const prepared = await this.signaling.request("prepare", { callee: { phone: this.peer.phone }, media: MEDIA });
    if (this.over) return undefined;
    this.id = prepared.call;
    this.ticket = prepared.ticket;
    this.iceServers = prepared.ice_servers ?? [];
    await this.meet(prepared.callee);
    if (this.peer.mustAgree) return this.finish({ reason: "keys_changed" });
    const blobs = await this.#begin(prepared.callee.devices);
    if (this.over) return undefined;
    const { list, signature } = this.identity.list;
    this.#invited = this.signaling.request("invite", { call: this.id, ticket: this.ticket, blobs, list, signature });
    await this.#invited;
    if (this.state === "calling") this.become("reaching");
    return undefined;
  }

  /** Message 1 for every device that the signed list holds; a device that it doesn't hold is never called. */
  async #begin(devices) {
    const blobs = {};
    for (const device of devices) {
      const keys = this.list.devices.get(device);
      if (!keys) continue;
      const bound = prologue({
        call: this.id,
        caller: this.identity.party,
        callee: this.end(device),
        media: MEDIA,
        lifetime: LIFETIME_S,
      });
      const own = this.identity.keys.exchange;
      const handshake = await Initiator.begin({ prologue: bound, own, remoteStatic: fromB64(keys.x25519) });
      blobs[device] = toB64(await handshake.writeFirst(pad(FIRST_PAYLOAD)));
      this.#handshakes.set(device, handshake);
    }
    if (this.#handshakes.size === 0) throw new Untrusted("No device of the list can be called.");
    return blobs;
  }

  rings() {
    if (["calling", "reaching"].includes(this.state)) this.become("ringing");
  }

  /** The other side's user answered on `device`; its sealed offer is in `blob`. */
  async accepted({ device, blob }) {
    if (this.over || this.link) return;
    this.become("connecting");
    try {
      const handshake = this.#handshakes.get(device);
      if (!handshake) throw new Untrusted("A device answered that was not called.");
      const session = await handshake.readSecond(fromB64(blob));
      this.keep(session, "i");
      this.openLink(this.iceServers);
      const fields = await this.link.answer(unpad(session.payload));
      const sealed = await this.transport.seal({ t: "answer", session: fields });
      await this.signaling.request("relay", { call: this.id, blob: toB64(sealed) });
    } catch (error) {
      if (error instanceof Problem && error.code !== "call_over") this.fail("setup_failed");
      else this.failFor(error);
    }
  }

  /** The answering phone has nothing more to say than its offer; what it relays all the same is authenticated and left alone. */
  async relayed({ blob }) {
    if (this.transport && !this.over) await this.transport.open(fromB64(blob)).catch((error) => this.failFor(error));
  }

  /** Gives up before an answer; if the answer was first, hangs up instead. */
  async #cancel() {
    try {
      await this.signaling.request("cancel", { call: this.id });
    } catch (problem) {
      if (problem.code === "too_late") this.tellHangUp();
    }
  }

  hangUp() {
    if (this.over) return;
    if (["connecting", "connected"].includes(this.state)) this.tellHangUp();
    else this.#invited?.then(() => this.#cancel(), () => {});
    this.finish({ reason: this.connectedAt ? "hangup" : "cancelled", by: "me" });
  }
}

export class IncomingCall extends Call {
  #responder;

  constructor(ports, ring) {
    super(ports, { direction: "in", phone: ring.from.phone });
    this.id = ring.call;
    this.ring = ring;
    this.ticket = ring.ticket;
    this.activates = ring.activates === true;
  }

  /** Believes the ring, or throws: nothing is shown and nothing rings before the caller has proved who he is. */
  async authenticate() {
    const { from, blob, media, lifetime } = this.ring;
    await this.meet(from);
    const keys = this.list.devices.get(from.device);
    if (!keys || media !== MEDIA) throw new Untrusted("The calling device isn't on its account's list.");
    const bound = prologue({ call: this.id, caller: this.end(from.device), callee: this.identity.party, media, lifetime });
    this.#responder = await Responder.begin({ prologue: bound, own: this.identity.keys.exchange });
    const first = await this.#responder.readFirst(fromB64(blob));
    if (toB64(first.remoteStatic) !== keys.x25519) throw new Untrusted("The caller's key isn't his device's.");
    if (unpad(first.payload).media !== media) throw new Untrusted("The call asks for other media than it says.");
    if (this.peer.standing !== "key_changed") await this.remember();
  }

  async ringing() {
    this.become("incoming");
    await this.signaling.request("ringing", { call: this.id }).catch((problem) => this.failFor(problem));
  }

  /** The user's tap. The offer is made only now, so nobody learns this machine's addresses from a ring. */
  async answer() {
    if (this.state !== "incoming") return;
    this.become("answering");
    try {
      this.source = await Source.open(this.tone);
      if (this.over) return this.source.close();
      this.openLink(this.ring.ice_servers ?? []);
      const offer = await this.link.offer();
      const session = await this.#responder.writeSecond(pad(offer));
      this.keep(session, "r");
      await this.signaling.request("accept", { call: this.id, blob: toB64(session.message) });
      this.become("connecting");
    } catch (error) {
      this.failFor(error);
    }
    return undefined;
  }

  async relayed({ blob }) {
    if (!this.transport || this.over) return;
    try {
      const said = await this.transport.open(fromB64(blob));
      if (said?.t !== "answer" || this.answered) return;
      this.answered = true;
      await this.link.takeAnswer(said.session);
    } catch (error) {
      this.failFor(error);
    }
  }

  hangUp() {
    if (this.over) return;
    const ringing = this.state === "incoming";
    if (ringing) this.signaling.request("decline", { call: this.id }).catch(() => {});
    else this.tellHangUp();
    this.finish({ reason: ringing ? "declined" : "hangup", by: "me" });
  }
}
