// One browser, several tabs, one phone: the tab that holds the lock is the phone; the others wait, and may take over.

const GIVE_MS = 2000;

export class Tabs {
  #lock;
  #channel;
  #waiting = null;
  #given = null;

  /**
   * `on` = {held(): this tab is the phone from now on; elsewhere(inCall): another one is; give(): Promise, this tab should say
   * its farewells, since another one takes over; inCall(): boolean}.
   */
  constructor(name, on) {
    this.#lock = `rollcall-phone:${name}`;
    this.on = on;
    this.#channel = new BroadcastChannel(this.#lock);
    this.#channel.onmessage = ({ data }) => this.#heard(data);
  }

  /** Becomes the phone where no other tab is it, and otherwise as soon as the other one is closed. */
  async join() {
    if (await this.#request({ ifAvailable: true })) this.on.held();
    else this.#wait();
  }

  /** The person wants the phone here: the other tab ends its call and its connection first, if it still can. */
  async takeOver() {
    this.#channel.postMessage({ do: "give" });
    await new Promise((resolve) => {
      this.#given = resolve;
      setTimeout(resolve, GIVE_MS);
    });
    this.#waiting.abort();
    await this.#request({ steal: true });
    this.on.held();
  }

  /** Tells waiting tabs whether a takeover would end a call. */
  tell() {
    if (!this.#waiting) this.#channel.postMessage({ do: "tell", inCall: this.on.inCall() });
  }

  async #heard(message) {
    if (message.do === "ask") this.tell();
    else if (message.do === "tell" && this.#waiting) this.on.elsewhere(message.inCall);
    else if (message.do === "given") this.#given?.();
    else if (message.do === "give" && !this.#waiting) {
      await this.on.give();
      this.#channel.postMessage({ do: "given" });
    }
  }

  #wait() {
    this.#waiting = new AbortController();
    this.on.elsewhere(false);
    this.#channel.postMessage({ do: "ask" });
    this.#request({ signal: this.#waiting.signal }).then(() => this.on.held(), () => {});
  }

  /** True when this tab holds the lock, which it then does until it is closed or another tab takes it. */
  #request(options) {
    return new Promise((resolve, reject) => {
      let held = false;
      const end = navigator.locks.request(this.#lock, options, (lock) => {
        held = lock !== null;
        if (held) this.#waiting = null;
        resolve(held);
        return held ? new Promise(() => {}) : null;
      });
      end.catch((error) => (held ? this.#wait() : reject(error)));
    });
  }
}
