// Which screen is shown, and the few things that stand around it. Screens are made once and then updated, so focus stays.

import { endedScreen, progressScreen, ringingScreen, talkScreen } from "./call_screen.js";
import { devicesScreen } from "./devices_screen.js";
import { dialScreen } from "./dial_screen.js";
import { h, icon, setText } from "./dom.js";
import { codeScreen, numberScreen } from "./register_screen.js";
import { endingWords, phoneWords } from "./words.js";

const CONNECTION = {
  online: "Connected",
  connecting: "Connecting…",
  waiting: "No connection, trying again…",
  stopped: "Not connected",
};

const ELSEWHERE = {
  idle: "It rings there. You can go on here instead; the other tab then waits.",
  inCall: "It is in a call there. Going on here ends that call.",
};

const SPOKEN = {
  calling: (who) => `Calling ${who}`,
  reaching: () => "Reaching the other phone",
  ringing: () => "It rings",
  incoming: (who, call) => `${who} is calling you.${call.activates ? " Answering turns calling on for you." : ""}`,
  answering: () => "Answering",
  connecting: () => "Connecting",
  connected: () => "Connected",
  ended: (who, call) => `${endingWords(call).title}. ${endingWords(call).body}`,
};

export class Ui {
  #screen = null;

  constructor(phone, { name, prefilled, suggested }) {
    this.phone = phone;
    this.name = name;
    this.prefilled = prefilled;
    this.suggested = suggested;
    this.showsDevices = false;
    this.main = document.querySelector("main");
    this.status = document.querySelector("#connection");
    this.spoken = document.querySelector("#spoken");
    document.querySelector("#who").textContent = name;
    document.title = name ? `${name} – Rollcall phone` : "Rollcall phone";
    document.addEventListener("keydown", (event) => this.#key(event));
    setInterval(() => this.#screen?.update(), 250);
  }

  /** What the person sees now, as a key: a new key is a new screen. */
  #wanted() {
    const { call, registering, registered, elsewhere } = this.phone;
    if (elsewhere) return ["elsewhere", () => this.#elsewhereScreen()];
    if (!registered && registering?.challenge) return [`code ${registering.challenge}`, () => codeScreen(this.phone)];
    if (!registered) return ["number", () => numberScreen(this.phone, { prefilled: this.prefilled })];
    if (call === null && this.showsDevices) return ["devices", () => devicesScreen(this.phone, { back: () => this.#showDevices(false) })];
    if (call === null) return ["dial", () => dialScreen(this.phone, { suggested: this.suggested, showDevices: () => this.#showDevices(true) })];
    const key = `${call.beganAt} ${call.id ?? ""}`;
    if (call.state === "incoming") return [`ringing ${key}`, () => ringingScreen(this.phone)];
    if (call.state === "connected") return [`talk ${key}`, () => talkScreen(this.phone)];
    if (call.over) return [`ended ${key}`, () => endedScreen(this.phone)];
    return [`progress ${call.beganAt}`, () => progressScreen(this.phone)];
  }

  #showDevices(shown) {
    this.showsDevices = shown;
    this.render();
  }

  render() {
    const [key, make] = this.#wanted();
    if (this.#screen?.key !== key) {
      const first = this.#screen === null;
      this.#screen = { ...make(), key };
      this.#screen.update();
      this.main.replaceChildren(this.#screen.element);
      if (!first) this.#screen.focus?.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    }
    this.#screen.update();
    const { connection, registered } = this.phone;
    this.status.hidden = !registered || this.phone.elsewhere !== null;
    this.status.dataset.state = connection;
    setText(this.status.querySelector("span"), CONNECTION[connection]);
    this.#speak();
  }

  /** One polite line for screen readers: what happens to the call. */
  #speak() {
    const { call, granted } = this.phone;
    const line = call ? (SPOKEN[call.state]?.(phoneWords(call.peer.phone), call) ?? "") : "";
    setText(this.spoken, [line, granted ? "You can now call, and invite others." : ""].filter(Boolean).join(" "));
  }

  #key(event) {
    const { call } = this.phone;
    if (event.key !== "Escape" || !call) return;
    if (call.over) this.phone.dismiss();
  }

  #elsewhereScreen() {
    const words = h("p", { class: "quiet" });
    const here = h("button", { class: "button primary", type: "button", onclick: () => this.phone.elsewhere?.takeOver() }, "Use it here");
    const element = h(
      "section",
      { class: "card stage" },
      icon("info"),
      h("h1", { tabindex: "-1" }, "This phone is open in another tab"),
      words,
      h("div", { class: "row middle" }, here),
    );
    const update = () => setText(words, ELSEWHERE[this.phone.elsewhere?.inCall ? "inCall" : "idle"]);
    return { name: "elsewhere", element, update, focus: here };
  }
}
