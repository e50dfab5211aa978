// A call that comes in: believe the caller, ring, wait for the user, and only then say anything about where we are.

import { isFresh, pad, prologue, unpad } from "./blob.js";
import { fromB64, toB64 } from "./bytes.js";
import { Call, MEDIA, Untrusted } from "./call.js";
import { Source } from "./media.js";
import { Responder } from "./noise.js";

export class IncomingCall extends Call {
  #responder;

  constructor(ports, ring) {
    super(ports, { direction: "in", phone: ring.from.phone });
    this.id = ring.call;
    this.key = ring.call;
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
    const sealed = { call: this.id, caller: this.end(from.device), media, lifetime };
    const first = await this.#read(fromB64(blob), sealed);
    if (toB64(first.remoteStatic) !== keys.x25519) throw new Untrusted("The caller's key isn't his device's.");
    const said = unpad(first.payload);
    if (said.media !== media) throw new Untrusted("The call asks for other media than it says.");
    this.fresh = isFresh(said.at, Date.now());
  }

  /** Reads a first message to this phone's number, or to its account where no number was dialled. */
  async #read(message, sealed) {
    const { party, keys } = this.identity;
    const read = async (callee) => {
      this.#responder = await Responder.begin({ prologue: prologue({ ...sealed, callee }), own: keys.exchange });
      return this.#responder.readFirst(message);
    };
    return read(party).catch(() => read({ ...party, phone: null }));
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
