// The two steps of signing in: the number, then the code that was sent to it.

import { h, icon } from "./dom.js";
import { phoneOf, phoneWords, refusalWords, whenWords } from "./words.js";

function errorLine(id) {
  return h("p", { class: "error", id, role: "alert" });
}

export function numberScreen(phone, { prefilled }) {
  const error = errorLine("number-error");
  const field = h("input", {
    id: "number",
    type: "tel",
    name: "tel",
    autocomplete: "tel",
    inputmode: "tel",
    placeholder: "+49 151 2345678",
    required: true,
    "aria-describedby": "number-hint number-error",
    value: phone.registering?.phone ?? prefilled,
  });
  const send = h("button", { class: "button primary", type: "submit" }, "Send me a code");
  const submit = (event) => {
    event.preventDefault();
    const number = phoneOf(field.value);
    if (!number) {
      error.textContent = "Write the number with its country code, such as +49 151 2345678.";
      field.setAttribute("aria-invalid", "true");
      field.focus();
      return;
    }
    phone.requestCode(number);
  };
  const element = h(
    "section",
    { class: "card narrow" },
    h("h1", { tabindex: "-1" }, "Your number"),
    h("p", { class: "quiet" }, "This browser becomes a phone. It signs in with a number and a code that is sent to it."),
    h(
      "form",
      { onsubmit: submit, novalidate: true },
      h("label", { for: "number" }, "Phone number"),
      field,
      h("p", { class: "hint", id: "number-hint" }, "With the country code, starting with +."),
      error,
      send,
    ),
    h("p", { class: "promise" }, icon("shield"), "Its keys are made here and never leave this browser."),
  );
  const update = () => {
    const { busy = false, problem = null } = phone.registering ?? {};
    send.disabled = busy;
    send.textContent = busy ? "Sending…" : "Send me a code";
    if (problem) error.textContent = sentence(problem);
  };
  return { name: "number", element, update, focus: field };
}

function sentence(problem) {
  const { title, body, retryAt } = refusalWords(problem);
  const when = retryAt ? whenWords(retryAt, Date.now()) : null;
  return [body || title, when ? `Try again ${when}.` : ""].filter(Boolean).join(" ");
}

export function codeScreen(phone) {
  const { demonstrationCode } = phone.registering;
  const error = errorLine("code-error");
  const field = h("input", {
    id: "code",
    class: "code",
    type: "text",
    inputmode: "numeric",
    autocomplete: "one-time-code",
    maxlength: "6",
    required: true,
    "aria-describedby": "code-hint code-error",
    value: demonstrationCode ?? "",
  });
  const confirm = h("button", { class: "button primary", type: "submit" }, "Sign in");
  const again = h("button", { class: "button text", type: "button", onclick: () => phone.requestCode(phone.registering.phone) }, "Send a new code");
  const submit = (event) => {
    event.preventDefault();
    const code = field.value.replace(/\s/g, "");
    if (code) phone.confirmCode(code);
    else error.textContent = "Type the code that was sent to you.";
  };
  const hint = demonstrationCode
    ? "This is a demonstration, so the code is filled in for you. Otherwise it would come as a message."
    : `It was sent to ${phoneWords(phone.registering.phone)}.`;
  const element = h(
    "section",
    { class: "card narrow" },
    h("h1", { tabindex: "-1" }, "Your code"),
    h("p", { class: "quiet" }, `For ${phoneWords(phone.registering.phone)}`),
    h(
      "form",
      { onsubmit: submit, novalidate: true },
      h("label", { for: "code" }, "Code"),
      field,
      h("p", { class: demonstrationCode ? "hint note" : "hint", id: "code-hint" }, hint),
      error,
      confirm,
    ),
    h(
      "div",
      { class: "row" },
      h("button", { class: "button text", type: "button", onclick: () => phone.changeNumber() }, "Another number"),
      again,
    ),
  );
  const update = () => {
    const { busy = false, problem = null, resendAt = 0 } = phone.registering ?? {};
    confirm.disabled = busy;
    confirm.textContent = busy ? "Signing in…" : "Sign in";
    if (problem) error.textContent = sentence(problem);
    const wait = Math.ceil((resendAt - Date.now()) / 1000);
    again.disabled = wait > 0;
    again.textContent = wait > 0 ? `Send a new code in ${wait} s` : "Send a new code";
  };
  return { name: "code", element, update, focus: demonstrationCode ? confirm : field };
}
