// The phone as a whole: one identity, one socket, at most one call, and what its person should see (`view`).

import { callingOf } from "./features.js";
import { IncomingCall } from "./incoming.js";
import { OutgoingCall } from "./outgoing.js";
import { Recents } from "./recents.js";
import { Identity, ask } from "./registration.js";
import { Signaling } from "./signaling.js";

const GLARE_MS = 10_000;
const FEED_MS = 2000; // by then every edge knows of a grant
const LOOK_AGAIN_MS = 30_000;
const MAX_RING_AGE_MS = 60_000;

export class Phone {
  /** `options` = {tone, carrier}; `changed()` is called after every visible change. */
  constructor(store, options, changed) {
    this.store = store;
    this.options = options;
    this.changed = changed;
    this.call = null;
    this.registering = null; // {phone, challenge, demonstrationCode, resendAt, busy, problem}
    this.connection = "stopped";
    this.elsewhere = null; // {inCall, takeOver()} while another tab of this browser is the phone
    this.calling = null; // what the call button may offer
    this.granted = null;
    this.recents = new Recents(store);
    this.lastRefusal = null;
    this.heldRing = null;
    this.consent = null;
    this.identity = new Identity(store, { onToken: (token) => this.signaling?.renewed(token), onLost: () => this.#signedOut() });
  }

  get registered() {
    return Boolean(this.identity.session);
  }

  get inCall() {
    return this.call !== null && !this.call.over;
  }

  /** This tab is the phone now. */
  async start() {
    this.elsewhere = null;
    this.call = null;
    await this.recents.load();
    this.looking = setInterval(() => this.#lookAgain(), LOOK_AGAIN_MS);
    if (await this.identity.load()) await this.#goOnline();
    this.changed();
  }

  // Registration

  async requestCode(phone) {
    this.registering = { phone, busy: true };
    this.changed();
    try {
      const answer = await this.identity.requestCode(phone);
      const resendAt = Date.now() + (answer.resend_after ?? 30) * 1000;
      this.registering = { phone: answer.phone, challenge: answer.challenge, demonstrationCode: answer.demonstration_code ?? null, resendAt };
    } catch (problem) {
      this.registering = { phone, problem };
      this.lastRefusal = problem;
    }
    this.changed();
  }

  async confirmCode(code) {
    this.registering = { ...this.registering, busy: true, problem: null };
    this.changed();
    try {
      const { challenge, phone } = this.registering;
      await this.identity.confirmCode({ challenge, code, phone, carrier: this.options.carrier });
      this.registering = null;
      await this.#goOnline();
    } catch (problem) {
      this.registering = { ...this.registering, busy: false, problem };
      this.lastRefusal = problem;
    }
    this.changed();
  }

  changeNumber() {
    this.registering = null;
    this.changed();
  }

  async signOut() {
    this.call?.hangUp();
    this.signaling?.stop();
    await this.identity.signOut();
    location.reload();
  }

  #signedOut() {
    this.signaling?.stop();
    this.changed();
  }

  // Connection

  async #goOnline() {
    this.signaling = new Signaling({
      store: this.store,
      device: this.identity.keys.device,
      token: () => this.#readyToken(),
      on: {
        state: (state, problem) => this.#connectionIs(state, problem),
        event: (event) => this.#event(event),
        renew: () => this.identity.renew(),
      },
    });
    await this.signaling.start();
  }

  /** A token to say hello with; on the way, the device list is published in case the last attempt failed. */
  async #readyToken() {
    const token = await this.identity.freshToken();
    await this.identity.publishList();
    return token;
  }

  #connectionIs(state, problem) {
    this.connection = state;
    if (state === "stopped" && problem?.code === "socket_replaced") this.restWhile({ inCall: false, takeOver: () => this.start() });
    if (state === "online") this.refreshFeatures();
    this.changed();
  }

  /** Another tab is the phone: this one does nothing that the other could do, until it is its turn. */
  restWhile(elsewhere) {
    this.elsewhere = elsewhere;
    this.call?.finish({ reason: "replaced" });
    clearInterval(this.looking);
    this.identity.rest();
    if (this.connection !== "stopped") this.signaling?.stop();
    this.changed();
  }

  /** Ends the call as its person would, and returns when the server knows. */
  async sayFarewell() {
    this.hangUp();
    await this.signaling?.answered();
  }

  /** Nobody tells a phone that a wave or a rule has changed for its person alone: it asks now and then, while it is looked at. */
  #lookAgain() {
    const looking = this.call === null && this.connection === "online" && document.visibilityState === "visible";
    if (looking) this.refreshFeatures();
  }

  async refreshFeatures() {
    try {
      const token = await this.identity.freshToken();
      this.calling = callingOf(await ask("GET", "/v1/me/features", { token }));
    } catch {
      this.calling ??= null; // the button stays; the server's answer to a call will say
    }
    this.changed();
  }

  async #event(event) {
    const mine = this.call && event.call === this.call.id ? this.call : null;
    switch (event.t) {
      case "ring":
        return this.#ring(event);
      case "ringing":
        return mine?.rings?.();
      case "accepted":
        return mine?.accepted?.(event);
      case "relay":
        return mine?.relayed(event);
      case "ended":
        if (this.heldRing?.call === event.call) this.heldRing = null;
        return mine?.finish({ reason: event.reason, cause: event.cause, words: event.words });
      case "missed":
        return this.#missed(event);
      case "grant":
        return this.#grant(event);
      case "features":
        return this.refreshFeatures();
      default:
        return undefined; // "connected" and what later versions say
    }
  }

  async #grant(event) {
    this.granted = { words: event.words ?? "", feature: event.feature, source: event.source, at: Date.now() };
    this.changed();
    await this.refreshFeatures();
    setTimeout(() => this.refreshFeatures(), FEED_MS);
  }

  // Calls

  #ports() {
    const ports = { identity: this.identity, signaling: this.signaling, store: this.store, tone: this.options.tone };
    return { ...ports, changed: () => this.#callChanged() };
  }

  async dial(number, agreed = null) {
    if (this.call && !this.call.over) return;
    this.granted = null;
    const call = new OutgoingCall(this.#ports(), number, agreed);
    this.call = call;
    await call.start();
    await this.#meetHalfway(call);
  }

  async #ring(event) {
    if (event.age_ms > Math.min(event.lifetime ?? 60, 60) * 1000 || event.age_ms > MAX_RING_AGE_MS) return;
    if (!(await this.store.firstSight(event.call, Date.now()))) return;
    if (!this.call || this.call.over) await this.#present(event);
    else if (this.#isGlare(event)) this.heldRing = event;
    else await this.#sayBusy(event);
  }

  async #sayBusy(event) {
    await this.signaling.request("busy", { call: event.call }).catch(() => {});
    await this.#missed(event);
  }

  async #missed(event) {
    await this.recents.keepMissed(event);
    this.changed();
  }

  /** The very person whom we are calling at this moment, before our invite has its answer. */
  #isGlare({ from }) {
    const { state, peer } = this.call;
    return state === "calling" && (peer.subscriber === from.subscriber || peer.phone === from.phone);
  }

  async #present(event) {
    const call = new IncomingCall(this.#ports(), event);
    try {
      await call.authenticate();
    } catch (error) {
      console.warn("A call was turned away: its caller could not prove who he is.", error.message);
      await this.signaling.request("decline", { call: event.call }).catch(() => {});
      return;
    }
    if (!call.fresh) return this.#missed(event); // held back or sent again: nobody waits at the other end
    this.call = call;
    this.granted = null;
    await call.ringing();
    if (this.#consentsTo(call)) call.answer();
  }

  /** Both called each other: our person's own tap, at most ten seconds ago, was the consent to talk to this very identity. */
  #consentsTo(call) {
    const given = this.consent;
    this.consent = null;
    const same = given?.call === call.id && given.digest === call.list.digest && call.peer.change === null;
    return same && Date.now() - given.at <= GLARE_MS && !call.activates;
  }

  /** What becomes of a ring that came from the called person while our own call was being placed; it may also still come. */
  async #meetHalfway(own) {
    const ring = this.heldRing;
    this.heldRing = null;
    if (own.ended?.reason === "glare_merged") {
      this.consent = { call: own.ended.cause, digest: own.list.digest, at: own.beganAt };
    }
    if (ring && own.over) await this.#present(ring);
    else if (ring) await this.#sayBusy(ring);
  }

  answer() {
    return this.call?.answer?.();
  }

  hangUp() {
    this.call?.hangUp();
  }

  /** Back to the dial screen. */
  dismiss() {
    if (this.call?.over) this.call = null;
    this.changed();
    this.refreshFeatures();
  }

  /** After a change about somebody compared before: the person agrees to these very keys, and calls again. */
  async agreeToChange() {
    const { peer, claim } = this.call;
    this.call = null;
    await this.dial(peer.phone, claim);
  }

  async #callChanged() {
    const { call } = this;
    this.changed();
    const stage = call?.ended ? "ended" : call?.connectedAt ? "connected" : "begun";
    if (!call || call.state === "calling" || call.kept === stage) return;
    call.kept = stage;
    if (!call.ended) return this.recents.keepCall(call);
    this.lastRefusal = call.ended.problem ?? this.lastRefusal;
    if (call.ended.problem) this.refreshFeatures();
    if (call.ended.reason !== "glare_merged") await this.recents.keepCall(call);
    this.changed();
  }
}
