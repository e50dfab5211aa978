// Whole sentences for people: how calls end, why the server says no, how long and how far.

import { changeWords } from "./contacts.js";

const CLOCK_S = 20;

const OUTCOMES = {
  depth: "You were invited yourself a short while ago, and for now only those who had calling before may invite others.",
  window_closed: "Inviting by call is closed at the moment. People who have calling already can be called as always.",
  quota_spent: "You have used all your invites. People who have calling already can be called as always.",
  root_budget: "The people around you have used all their invites for now.",
  budget_spent: "All invites of this round are used up. The next round brings new ones.",
  throttled: "The network is busy where this call would go, so nobody new is let in for a moment.",
  inviter_too_new: "Your own calling is too new to invite others yet.",
  inviter_frozen: "Your invites are paused. Write to support if you think that is a mistake.",
  rate_limited: "That was too many attempts in a short time.",
  already: "Calling was already on.",
};

export function outcomeWords(outcome) {
  return OUTCOMES[outcome] ?? "";
}

const ENDINGS = {
  hangup: ["Call ended", ""],
  cancelled: ["Cancelled", "The call was cancelled before anybody answered."],
  declined: ["Declined", "The other person doesn't want to talk right now."],
  busy: ["Busy", "The other person is in another call. Try again later."],
  no_answer: ["No answer", "Nobody answered. Try again later."],
  unreachable: ["Not reachable", "The other phone could not be reached. It may be switched off or offline."],
  unavailable: ["Can't be called now", "This person can't be called right now."],
  answered_elsewhere: ["Answered elsewhere", "The call was answered on another device."],
  replaced: ["Continued elsewhere", "The phone went on in another tab, and the call ended here."],
  setup_failed: ["No connection", "The two phones found no way to each other. A different network may help."],
  media_lost: ["Connection lost", "The sound was lost for too long. Call again when the network is better."],
  security_error: ["Ended for your safety", "The other side could not prove who it is, so the call was ended before anything was said."],
  stopped: ["Calls are stopped", "Calling has been switched off for everyone for the moment. This has nothing to do with you."],
  grant_ended: ["Calling was taken back", "Calling is no longer on for one of you."],
  lost: ["Connection lost", "The call's trace was lost on the way. Call again."],
  not_activated: ["Calling was not turned on", "The invite could not be used, so nothing was changed."],
  glare_merged: ["You called each other", "Their call reached the server first, so it rings here in a moment."],
  keys_changed: ["Not whom you compared with", ""],
};

/** "no answer", "not placed": how an unanswered call stands in the list of calls. */
export function shortEnding({ reason, missed, direction }) {
  if (missed) return direction === "in" ? "call back?" : "";
  if (reason === "refused") return "not placed";
  if (reason === "left") return "this page was closed";
  return (ENDINGS[reason]?.[0] ?? "not placed").toLowerCase();
}

const BY_ME = {
  declined: ["Declined", "You declined the call."],
  cancelled: ["Cancelled", "You cancelled the call."],
};

const NOT_NOW = ["Not now", "Nothing was turned on. Who called you can invite you again."];

/** What changed about the other side since a call proved who it is, and what to do; "" where nothing did. */
export function warningWords({ peer, direction }) {
  if (peer.change === null) return "";
  const changed = changeWords(peer.change, phoneWords(peer.phone));
  if (!peer.mustAgree) return `${changed} Compare the safety number in the call.`;
  const after = direction === "in" ? "Answering accepts it" : "Calling accepts it";
  return `${changed} You had compared with them before: ask them over another way. ${after}; then compare again.`;
}

const REFUSALS = {
  cannot_be_called_now: "Can't be called now",
  not_enabled: "Calling isn't on for you yet",
  stopped: "Calls are stopped",
  server_unreachable: "No connection",
  try_again: "Please try again",
  rate_limited: "A little slower, please",
};

/** {title, body, retryAt} of an ended call. */
export function endingWords(call) {
  const { reason, cause, words, problem, by } = call.ended;
  if (reason === "keys_changed") return { title: ENDINGS.keys_changed[0], body: warningWords(call), retryAt: null };
  if (problem) return refusalWords(problem);
  if (by === "me" && reason === "declined" && call.activates) return { title: NOT_NOW[0], body: NOT_NOW[1], retryAt: null };
  const [title, body] = (by === "me" && BY_ME[reason]) || (ENDINGS[reason] ?? ["Call ended", ""]);
  if (reason === "cancelled" && call.direction === "in") return { title: "Missed call", body: "They hung up before you answered.", retryAt: null };
  if (reason === "hangup") return { title, body: "", retryAt: null };
  return { title, body: words || [body, reason === "not_activated" ? outcomeWords(cause) : ""].filter(Boolean).join(" "), retryAt: null };
}

/** {title, body, retryAt} of a refusal: the server's own sentence first, ours where it sent none. */
export function refusalWords(problem) {
  const outcome = outcomeWords(problem.extra.invite ?? problem.extra.cause);
  const said = problem.detail || problem.extra.words || "";
  const body = [said, said.includes(outcome) ? "" : outcome].filter(Boolean).join(" ");
  return { title: REFUSALS[problem.code] ?? problem.title ?? "That didn't work", body, retryAt: problem.retryAt };
}

/** "in 40 seconds", "in about 5 minutes", "at 18:30"; null when the moment has come. */
export function whenWords(at, now) {
  const seconds = Math.ceil((at - now) / 1000);
  if (seconds <= 0) return null;
  if (seconds < 90) return `in ${seconds} second${seconds === 1 ? "" : "s"}`;
  if (seconds < 3600) return `in about ${Math.round(seconds / 60)} minutes`;
  const date = new Date(at);
  const clock = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return seconds < 12 * 3600 ? `at ${clock}` : `on ${date.toLocaleDateString([], { day: "numeric", month: "long" })} at ${clock}`;
}

/** A clock that is far off makes calls look old, and then they don't ring; "" where it is right enough. */
export function clockWords(aheadSeconds) {
  if (Math.abs(aheadSeconds) <= CLOCK_S) return "";
  return `This device's clock is ${Math.abs(aheadSeconds)} seconds ${aheadSeconds > 0 ? "fast" : "slow"}: set it, or calls don't ring here.`;
}

export function agoWords(at, now) {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  const date = new Date(at);
  if (new Date(now).toDateString() === date.toDateString()) return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return date.toLocaleDateString([], { day: "numeric", month: "short" });
}

/** 0:07, 12:30, 1:02:03 */
export function duration(seconds) {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const [hours, minutes, rest] = parts;
  const two = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

const TWO_DIGIT_CODES = /^\+(20|27|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58])/;

/** +49 151 234 5678: the country's code, then groups of three and a last one of up to four. Only for the eye. */
export function phoneWords(phone) {
  if (!/^\+\d{7,15}$/.test(phone ?? "")) return phone || "Unknown number";
  const code = phone.match(TWO_DIGIT_CODES)?.[0] ?? (/^\+[17]/.test(phone) ? phone.slice(0, 2) : phone.slice(0, 4));
  const rest = phone.slice(code.length);
  return `${code} ${rest.replace(/(\d{3})(?=\d{3})/g, "$1 ")}`.replaceAll(" ", "\u00a0");
}

/** The number as the server wants it, or null. Spaces, brackets, dashes and a leading 00 are forgiven. */
export function phoneOf(typed) {
  const bare = typed.replace(/[\s()./-]/g, "").replace(/^00/, "+");
  return /^\+[1-9]\d{6,14}$/.test(bare) ? bare : null;
}
