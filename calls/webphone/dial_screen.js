// The calm screen: who I am, whom to call, what calling offers me, who called.

import { h, icon, setText } from "./dom.js";
import { agoWords, clockWords, duration, phoneOf, phoneWords, shortEnding } from "./words.js";

const SHOWN_CALLS = 8;

export function dialScreen(phone, { suggested, showDevices }) {
  const error = h("p", { class: "error", id: "callee-error", role: "alert" });
  const field = h("input", {
    id: "callee",
    type: "tel",
    inputmode: "tel",
    autocomplete: "off",
    placeholder: "+49 151 2345678",
    "aria-describedby": "callee-error offer",
    value: suggested,
  });
  const call = h("button", { class: "button primary call", type: "submit" }, icon("call"), h("span", {}, "Call"));
  const offer = h("div", { class: "offer", id: "offer" });
  const recent = h("div", { class: "recent" });
  const submit = (event) => {
    event.preventDefault();
    const number = phoneOf(field.value);
    error.textContent = number ? "" : "Write the number with its country code, such as +49 151 2345678.";
    if (number) phone.dial(number);
    else field.focus();
  };
  const element = h(
    "div",
    { class: "dial" },
    h(
      "section",
      { class: "card" },
      h("h1", { tabindex: "-1", class: "visually-hidden" }, "Call somebody"),
      h("p", { class: "me" }, icon("person"), h("span", {}, "You are ", h("strong", {}, phoneWords(phone.identity.session.phone)))),
      h("form", { onsubmit: submit, novalidate: true }, h("label", { for: "callee" }, "Whom do you want to call?"), field, error, call),
      offer,
    ),
    h("section", { class: "card", "aria-labelledby": "recent-title" }, h("h2", { id: "recent-title" }, "Recent calls"), recent),
    h(
      "div",
      { class: "row end" },
      h("button", { class: "button text", type: "button", onclick: showDevices }, "Your devices"),
      h("button", { class: "button text", type: "button", onclick: () => leave(phone) }, "Sign this browser out"),
    ),
  );
  const update = () => {
    updateOffer(offer, phone, call);
    updateRecent(recent, phone);
  };
  return { name: "dial", element, update, focus: element.querySelector("h1") };
}

function leave(phone) {
  const sure = window.confirm("Sign this browser out? Its keys and its list of calls are deleted. You can sign in again with your number.");
  if (sure) phone.signOut();
}

const OFF = {
  killed: "Calls are stopped",
  switched_off: "Calling is switched off",
  update_required: "This app needs an update",
  os_update_required: "This device needs an update",
  device_unsupported: "Not on this device",
};

function offerWords({ calling, connection }) {
  if (connection !== "online") return ["wait", "Not connected", "You can call as soon as the connection is back."];
  if (calling === null) return ["wait", "Asking what you may do…", ""];
  if (calling.on) return ["on", "You can call, with voice", calling.words];
  return ["off", OFF[calling.cause] ?? "Calling isn't on for you yet", calling.words || "Somebody who has calling can turn it on for you by calling you."];
}

function updateOffer(element, phone, button) {
  const [state, title, words] = offerWords(phone);
  const lines = [title, words];
  if (state === "on" && phone.calling.invites) lines.push(phone.calling.invites);
  lines.push(clockWords(phone.signaling?.clockAhead ?? 0));
  button.classList.toggle("unsure", state === "off");
  button.disabled = phone.connection !== "online";
  const said = lines.filter(Boolean).join("\n");
  if (element.dataset.said === said) return;
  element.dataset.said = said;
  element.dataset.state = state;
  const [first, ...rest] = lines.filter(Boolean);
  element.replaceChildren(
    icon(state === "on" ? "check" : "info"),
    h("div", {}, h("p", { class: "strong" }, first), ...rest.map((line) => h("p", { class: "quiet" }, line))),
  );
}

const KINDS = {
  missed: ["missed", "Missed"],
  in: ["in", "Incoming"],
  out: ["out", "Outgoing"],
};

function updateRecent(element, phone) {
  const shown = phone.recents.list.slice(0, SHOWN_CALLS);
  const key = shown.map(({ id }) => id).join();
  if (element.dataset.key === key) {
    shown.forEach(({ at }, index) => {
      const time = element.querySelectorAll("time")[index];
      if (time) setText(time, agoWords(at, Date.now()));
    });
    return;
  }
  element.dataset.key = key;
  if (shown.length === 0) {
    element.replaceChildren(h("p", { class: "quiet empty" }, "No calls yet. They will stand here, in this browser only."));
    return;
  }
  element.replaceChildren(h("ul", {}, shown.map((entry) => h("li", {}, recentCall(entry, phone)))));
}

function recentCall(entry, phone) {
  const [name, kind] = KINDS[entry.missed ? "missed" : entry.direction];
  const detail = `${kind}, ${entry.seconds === null ? shortEnding(entry) : duration(entry.seconds)}`;
  return h(
    "button",
    { class: entry.missed ? "entry missed" : "entry", type: "button", title: "Call this number", onclick: () => entry.phone && phone.dial(entry.phone) },
    icon(name),
    h("span", { class: "who" }, h("span", { class: "number" }, phoneWords(entry.phone)), h("span", { class: "quiet" }, detail)),
    h("time", { class: "quiet" }, agoWords(entry.at, Date.now())),
  );
}
