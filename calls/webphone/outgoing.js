// A call that this phone's user places: prepare, seal one first message for each device, invite, answer the answerer's offer.

import { LIFETIME_S, pad, prologue, unpad } from "./blob.js";
import { fromB64, toB64 } from "./bytes.js";
import { Call, MEDIA, Untrusted } from "./call.js";
import { Source } from "./media.js";
import { Initiator } from "./noise.js";
import { Problem, readOtherwise } from "./problem.js";

const UNSURE = ["try_again", "server_unreachable"]; // the server may have taken the invite all the same: nobody should ring in vain

export class OutgoingCall extends Call {
  #handshakes = new Map();
  #invited = null;

  constructor(ports, phone, agreed) {
    super(ports, { direction: "out", phone, agreed });
  }

  async start() {
    this.become("calling");
    try {
      await this.#start();
    } catch (error) {
      if (error instanceof Problem && error.code === "glare") this.finish({ reason: "glare_merged", cause: error.extra.call });
      else {
        if (this.#invited && UNSURE.includes(error.code)) this.#cancel();
        this.failFor(error);
      }
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
    const read = prepared.callee.phone;
    if (read !== this.peer.phone) throw readOtherwise(this.peer.phone, read);
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
    const payload = pad({ media: MEDIA, caps: ["opus"], at: Date.now() });
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
      blobs[device] = toB64(await handshake.writeFirst(payload));
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
