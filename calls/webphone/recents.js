// The list of calls, in this browser only.

const MISSED = new Set(["cancelled", "no_answer", "unreachable", "lost"]);

export class Recents {
  constructor(store) {
    this.store = store;
    this.list = [];
  }

  async load() {
    this.list = (await this.store.all("calls")).sort((a, b) => b.at - a.at);
  }

  /** A call of this phone, while it goes on and when it is over: what stands last counts, even if the page is closed. */
  async keepCall({ key, direction, peer, beganAt, connectedAt, ended }) {
    const seconds = connectedAt && ended ? Math.round((ended.at - connectedAt) / 1000) : null;
    const missed = direction === "in" && !connectedAt && !ended?.by && MISSED.has(ended?.reason);
    await this.#keep({ id: key, direction, phone: peer.phone, at: beganAt, seconds, missed, reason: ended?.reason ?? "left" });
  }

  /** A call that this phone never rang for: it was away, or in another call. */
  async keepMissed({ call, from, age_ms: age = 0 }) {
    await this.#keep({ id: call, direction: "in", phone: from?.phone, at: Date.now() - age, seconds: null, missed: true, reason: "no_answer" });
  }

  async #keep(entry) {
    await this.store.keepCall(entry);
    await this.load();
  }
}
