// The screens of a call: on its way out, ringing here, in it, and how it ended.

import { h, icon, setText } from "./dom.js";
import { duration, endingWords, phoneWords, warningWords, whenWords } from "./words.js";

const PROGRESS = {
  calling: "Calling…",
  reaching: "Reaching the other phone…",
  ringing: "Ringing…",
  answering: "Answering…",
  connecting: "Connecting…",
};

function figure(kind) {
  return h("div", { class: `figure ${kind}`, "aria-hidden": "true" }, h("span"), h("span"), icon("person"));
}

function round(name, label, { kind = "", onclick, pressed }) {
  return h(
    "button",
    { class: `round ${kind}`, type: "button", onclick, "aria-pressed": pressed },
    h("span", { class: "disc" }, icon(name)),
    h("span", { class: "label" }, label),
  );
}

function keyWarning(call) {
  const words = warningWords(call);
  return words ? h("p", { class: "warning", role: "alert" }, icon("info"), words) : null;
}

/** A first contact is nobody's word but the server's, until people compare. */
function firstContact(call) {
  if (call.peer.comparison !== "first_seen") return null;
  return h("p", { class: "quiet" }, "Your first call with this number: nobody has compared the safety number yet.");
}

const notesOn = (call) => [keyWarning(call), firstContact(call)].filter(Boolean);

const promiseWords = ({ verified }) => `End-to-end encrypted, ${verified ? "compared" : "not compared yet"}`;

/** calling → reaching → ringing → connecting, and the callee's answering → connecting. */
export function progressScreen(phone) {
  const { call } = phone;
  const line = h("p", { class: "progress" });
  const notes = h("div");
  const hangUp = round("hangup", call.direction === "out" ? "Hang up" : "End", { kind: "danger", onclick: () => phone.hangUp() });
  const shape = figure("");
  const element = h(
    "section",
    { class: "card stage" },
    shape,
    h("h1", { tabindex: "-1", class: "number" }, phoneWords(call.peer.phone)),
    line,
    notes,
    h("div", { class: "controls" }, hangUp),
  );
  const update = () => {
    setText(line, PROGRESS[call.state] ?? "");
    shape.classList.toggle("waves", call.state === "ringing");
    if (notes.childElementCount === 0) notes.append(...notesOn(call));
  };
  return { name: `progress ${call.direction}`, element, update, focus: hangUp };
}

export function ringingScreen(phone) {
  const { call } = phone;
  const answer = round("call", call.peer.mustAgree ? "Answer anyway" : "Answer", { kind: "accent", onclick: () => phone.answer() });
  const refuse = round("hangup", call.activates ? "Not now" : "Decline", { kind: "danger", onclick: () => phone.hangUp() });
  const element = h(
    "section",
    { class: "card stage", "aria-labelledby": "caller" },
    figure("waves"),
    h("h1", { tabindex: "-1", class: "number", id: "caller" }, phoneWords(call.peer.phone)),
    h("p", { class: "progress" }, "is calling you"),
    call.activates
      ? h(
          "div",
          { class: "activates" },
          h("p", { class: "strong" }, "Answering turns calling on for you"),
          h("p", { class: "quiet" }, "You can then call others, too. With “Not now” nothing changes."),
        )
      : null,
    ...notesOn(call),
    h("div", { class: "controls two" }, refuse, answer),
  );
  return { name: "ringing", element, update: () => {}, focus: answer };
}

function safetyPanel(phone, close) {
  const { call } = phone;
  const groups = call.safety.match(/.{5}/g);
  const compared = h("button", { class: "button", type: "button" });
  const say = () => {
    compared.replaceChildren(icon("check"), call.peer.verified ? "Compared: the numbers are the same" : "We compared it, it is the same");
    compared.setAttribute("aria-pressed", String(call.peer.verified));
  };
  compared.addEventListener("click", async () => {
    await call.remember({ verified: !call.peer.verified });
    say();
  });
  say();
  return h(
    "div",
    { class: "safety", role: "group", "aria-labelledby": "safety-title" },
    h("div", { class: "row" }, h("h2", { id: "safety-title" }, "Safety number"), h("button", { class: "button text", type: "button", onclick: close }, "Close")),
    h("p", { class: "quiet" }, "Read it to each other, or compare it side by side. If all digits are the same, nobody sits between you."),
    h("p", { class: "digits", "aria-label": groups.join(" ") }, groups.map((group) => h("span", { "aria-hidden": "true" }, group))),
    compared,
  );
}

function qualityWords(call, quality) {
  if (call.weak) return ["weak", "The connection is weak, trying to get it back…"];
  if (!quality) return ["wait", "Listening…"];
  const loss = quality.lossPercent;
  const grade = loss < 2 ? "Good sound" : loss < 8 ? "Fair sound" : "Poor sound";
  const numbers = [`${quality.packets} packets`, `${loss.toFixed(1)} % lost`];
  if (quality.roundTripMs !== null) numbers.push(`${quality.roundTripMs} ms round trip`);
  if (quality.path === "relay") numbers.push("over a relay");
  return [loss < 8 ? "good" : "weak", `${grade}\n${numbers.join(" · ")}`];
}

export function talkScreen(phone) {
  const { call } = phone;
  const timer = h("p", { class: "timer", role: "timer", "aria-live": "off" });
  const quality = h("p", { class: "quality quiet" });
  const bar = h("span", { class: "bar" });
  const promise = h("span");
  const granted = h("div");
  const panel = h("div");
  const mute = round("mute", "Mute", { onclick: () => phone.call?.mute(!phone.call.muted), pressed: "false" });
  const safety = round("shield", "Safety number", { onclick: () => togglePanel(), pressed: undefined });
  safety.setAttribute("aria-expanded", "false");
  const hangUp = round("hangup", "Hang up", { kind: "danger", onclick: () => phone.hangUp() });

  const togglePanel = () => {
    if (!call.safety) return;
    const opening = panel.childElementCount === 0;
    panel.replaceChildren(...(opening ? [safetyPanel(phone, togglePanel)] : []));
    safety.setAttribute("aria-expanded", String(opening));
    if (opening) panel.scrollIntoView({ block: "nearest" });
    else safety.focus();
  };
  const element = h(
    "section",
    { class: "card stage talk" },
    figure("still"),
    h("h1", { tabindex: "-1", class: "number" }, phoneWords(call.peer.phone)),
    timer,
    h("p", { class: "promise" }, icon("shield"), promise),
    granted,
    keyWarning(call),
    h("div", { class: "meter", "aria-hidden": "true" }, bar),
    quality,
    h("div", { class: "controls" }, mute, safety, hangUp),
    panel,
  );
  let measured = null;
  let measuring = 0;
  const measure = async () => {
    if (Date.now() - measuring < 1000) return;
    measuring = Date.now();
    measured = await call.link.quality().catch(() => measured);
  };
  const update = () => {
    setText(timer, duration(Math.floor((Date.now() - call.connectedAt) / 1000)));
    mute.setAttribute("aria-pressed", String(call.muted));
    safety.disabled = call.safety === null;
    setText(promise, promiseWords(call.peer));
    showGrant(granted, phone);
    measure();
    const [state, words] = qualityWords(call, measured);
    quality.dataset.state = state;
    setText(quality, words);
    const level = call.link.meter?.level() ?? 0;
    bar.style.setProperty("--level", Math.min(1, Math.sqrt(level) * 1.6).toFixed(3));
  };
  return { name: "talk", element, update, focus: hangUp };
}

function showGrant(element, phone) {
  if (!phone.granted || element.childElementCount > 0) return;
  element.replaceChildren(grantNote());
}

function grantNote() {
  return h(
    "div",
    { class: "granted", role: "status" },
    icon("check"),
    h("p", { class: "strong" }, "You can now call, and invite others"),
  );
}

export function endedScreen(phone) {
  const { call } = phone;
  const { title, body, retryAt } = endingWords(call);
  const talked = call.connectedAt ? `You talked for ${duration(Math.round((call.ended.at - call.connectedAt) / 1000))}.` : "";
  const retry = h("p", { class: "retry" });
  const agree = call.ended.reason === "keys_changed";
  const again = h(
    "button",
    { class: "button", type: "button", onclick: () => (agree ? phone.agreeToChange() : phone.dial(call.peer.phone)) },
    agree ? "I know, call anyway" : "Call again",
  );
  const done = h("button", { class: "button primary", type: "button", onclick: () => phone.dismiss() }, "Done");
  const granted = h("div");
  const element = h(
    "section",
    { class: "card stage ended", role: "group", "aria-labelledby": "ended-title" },
    h("p", { class: "number quiet" }, phoneWords(call.peer.phone)),
    h("h1", { tabindex: "-1", id: "ended-title" }, title),
    body ? h("p", { class: "reason" }, body) : null,
    talked ? h("p", { class: "quiet" }, talked) : null,
    retry,
    granted,
    h("div", { class: "row middle" }, call.direction === "out" || call.connectedAt ? again : null, done),
  );
  const update = () => {
    showGrant(granted, phone);
    if (retryAt === null) return;
    const when = whenWords(retryAt, Date.now());
    setText(retry, when ? `You can try again ${when}.` : "You can try again now.");
  };
  return { name: `ended ${call.id}`, element, update, focus: done };
}
