// The devices of this person: what each is called, renaming one, and signing one out.

import { h, icon } from "./dom.js";
import { ask } from "./registration.js";
import { agoWords } from "./words.js";

const PATH = "/v1/me/devices";

export function devicesScreen(phone, { back }) {
  const error = h("p", { class: "error", role: "alert" });
  const list = h("ul", { class: "devices" });
  const element = h(
    "section",
    { class: "card" },
    h("h1", { tabindex: "-1" }, "Your devices"),
    h("p", { class: "quiet" }, "Phones and browsers that are signed in with your number. Sign out one that you have lost."),
    error,
    list,
    h("div", { class: "row end" }, h("button", { class: "button", type: "button", onclick: back }, icon("back"), "Back")),
  );

  /** Asks the server to do something, and shows how it is afterwards; a refusal is told in its own words. */
  async function change(method, path, body) {
    error.textContent = "";
    try {
      const token = await phone.identity.freshToken();
      if (method) await ask(method, path, { body, token });
      const { devices } = await ask("GET", PATH, { token });
      list.replaceChildren(...devices.map((device) => row(device)));
    } catch (problem) {
      error.textContent = problem.message;
    }
  }

  function row(device) {
    const name = device.label || "A device without a name";
    const about = [device.this ? "This browser" : `Last seen ${agoWords(Date.parse(device.seen_at), Date.now())}`];
    if (!device.listed) about.push("not on your signed list, so it isn't called");
    const rename = () => {
      const label = window.prompt(`What is “${name}” called?`, device.label);
      if (label !== null && label.trim() !== device.label) change("PATCH", `${PATH}/${device.id}`, { label: label.trim() });
    };
    const signOut = () => {
      if (device.this) return window.confirm("Sign this browser out? Its keys and its list of calls are deleted.") && phone.signOut();
      return window.confirm(`Sign “${name}” out? It rings no more, and can't call.`) && change("DELETE", `${PATH}/${device.id}`);
    };
    return h(
      "li",
      {},
      h("span", { class: "who" }, h("strong", {}, name), h("span", { class: "quiet" }, about.join(", "))),
      h("button", { class: "button text", type: "button", "aria-label": `Rename ${name}`, onclick: rename }, "Rename"),
      h("button", { class: "button text", type: "button", "aria-label": `Sign ${name} out`, onclick: signOut }, "Sign out"),
    );
  }

  change();
  return { name: "devices", element, update() {}, focus: element.querySelector("h1") };
}
