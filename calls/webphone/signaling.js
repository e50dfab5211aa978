// The one socket to the edge: requests that survive a reconnect, events once each and in order, jittered back-off.

import { Problem, unreachable } from "./problem.js";

const WELCOME_MS = 10_000;
const ANSWER_MS = 20_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MOST_MS = 20_000;
const SETTLED_MS = 10_000;
const SETTLE_MS = 20;

/** How long to wait before attempt `n` (from 0): full jitter under an exponential ceiling, so that phones don't come back as one. */
export function backoff(n, random) {
  return BACKOFF_FIRST_MS / 2 + random * Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** n);
}

/**
 * `on` = {state(name, problem?), event(event): Promise, renew(): Promise}. States: "connecting", "online", "waiting", "stopped".
 * Event handlers run one after the other; an event is acknowledged when its handler is done.
 */
export class Signaling {
  #socket = null;
  #pending = new Map();
  #attempt = 0;
  #stopped = true;
  #session = null;
  #events = Promise.resolve();
  #welcomed = false;
  clockAhead = 0; // seconds by which this machine's clock was ahead of the server's at the last welcome

  constructor({ store, device, token, on }) {
    this.store = store;
    this.device = device;
    this.token = token; // () => Promise<string>
    this.on = on;
    this.mark = { epoch: "", seq: 0 };
    window.addEventListener("online", () => this.#hurry());
    window.addEventListener("offline", () => this.#socket?.close());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#hurry());
  }

  async start() {
    this.mark = (await this.store.get("kept", "mark")) ?? this.mark;
    this.#stopped = false;
    this.#attempt = 0;
    await this.#connect();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.retry);
    this.#socket?.close(1000);
    this.#failPending(unreachable());
    this.on.state("stopped");
  }

  /** Sends a request and gives its answer; a refusal is a Problem. Sent again with the same id after a reconnect. */
  request(t, body = {}) {
    const id = crypto.randomUUID();
    const frame = JSON.stringify({ k: "req", id, t, ...body });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(unreachable());
      }, ANSWER_MS);
      this.#pending.set(id, { frame, resolve, reject, timer });
      if (this.#welcomed) this.#socket.send(frame);
    });
  }

  /** Returns when every request has its answer. */
  async answered() {
    while (this.#pending.size > 0) await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  }

  renewed(token) {
    if (this.#welcomed) this.#socket.send(JSON.stringify({ k: "token", token }));
  }

  async #connect() {
    clearTimeout(this.retry);
    this.on.state("connecting");
    let token;
    try {
      token = await this.token();
    } catch (problem) {
      if (!this.#stopped) this.#again(problem);
      return;
    }
    if (this.#stopped) return;
    const url = new URL("/v1/signal", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#welcomed = false;
    const impatience = setTimeout(() => socket.close(), WELCOME_MS);
    socket.onopen = () => socket.send(JSON.stringify(this.#hello(token)));
    socket.onmessage = ({ data }) => socket === this.#socket && this.#frame(JSON.parse(data), impatience);
    socket.onclose = ({ code }) => {
      clearTimeout(impatience);
      if (socket === this.#socket) this.#closed(code);
    };
  }

  #hello(token) {
    const { epoch, seq } = this.mark;
    const hello = { k: "hello", v: 1, token, device: this.device, last_seq: seq, epoch };
    return this.#session ? { ...hello, resume: this.#session } : hello;
  }

  #frame(frame, impatience) {
    switch (frame.k) {
      case "welcome":
        clearTimeout(impatience);
        this.#welcome(frame);
        break;
      case "res":
        this.#answer(frame);
        break;
      case "ev":
        this.#events = this.#events.then(() => this.#event(frame)).catch((error) => console.warn("An event failed.", error.message));
        break;
      case "bye":
        this.bye = new Problem(frame.problem ?? {});
        break;
      default: // a later version may say more; what isn't known is left alone
    }
  }

  #welcome({ session, epoch, server_time: serverTime }) {
    this.#session = session;
    this.bye = null;
    if (epoch !== this.mark.epoch) this.mark = { epoch, seq: 0 };
    this.#welcomed = true;
    this.settled = setTimeout(() => {
      this.#attempt = 0;
    }, SETTLED_MS);
    for (const { frame } of this.#pending.values()) this.#socket.send(frame);
    this.clockAhead = Number.isInteger(serverTime) ? Math.round((Date.now() - serverTime) / 1000) : 0;
    this.on.state("online");
  }

  #answer({ id, ok, problem }) {
    const waiting = this.#pending.get(id);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    this.#pending.delete(id);
    if (problem) waiting.reject(new Problem(problem));
    else waiting.resolve(ok ?? {});
  }

  async #event(frame) {
    if (frame.seq > this.mark.seq) {
      await this.on.event(frame);
      this.mark = { ...this.mark, seq: frame.seq };
      await this.store.put("kept", "mark", this.mark);
    }
    if (this.#welcomed) this.#socket.send(JSON.stringify({ k: "ack", seq: frame.seq }));
  }

  async #closed(code) {
    clearTimeout(this.settled);
    this.#welcomed = false;
    if (this.#stopped) return;
    if (code === 4409) {
      this.#stopped = true;
      this.#failPending(unreachable());
      this.on.state("stopped", this.bye);
      return;
    }
    if (code === 4401) await this.on.renew().catch(() => {});
    if (!this.#stopped) this.#again(this.bye);
  }

  #again(problem) {
    const wait = backoff(this.#attempt, Math.random());
    this.#attempt += 1;
    this.on.state("waiting", problem);
    this.retry = setTimeout(() => this.#connect(), wait);
  }

  #hurry() {
    if (this.#stopped || this.#welcomed || this.#socket?.readyState === WebSocket.CONNECTING) return;
    this.#attempt = 0;
    this.#connect();
  }

  #failPending(problem) {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(problem);
    }
    this.#pending.clear();
  }
}
