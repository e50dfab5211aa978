// The page: reads the address, opens this identity's memory, starts phone and screens.
//
//   ?as=bob            an identity of its own in this browser
//   ?phone=%2B4915…    a number to sign in with
//   ?call=%2B4915…     a number that stands ready to be called
//   ?tone=440          sends a tone instead of the microphone
//   ?carrier=262-03    the carrier to register with (MCC-MNC), for demonstrations

import { Phone } from "./phone.js";
import { Store } from "./store.js";
import { Tabs } from "./tabs.js";
import { Ui } from "./ui.js";

const query = new URLSearchParams(location.search);
const name = (query.get("as") ?? "").slice(0, 40);
const tone = Number(query.get("tone"));
const carrier = /^\d{3}-\d{2,3}$/.test(query.get("carrier") ?? "") ? query.get("carrier") : null;

/** For tests and the curious: what the phone knows, to read and not to change. */
function publish(phone) {
  const state = () => {
    if (phone.elsewhere) return "elsewhere";
    if (!phone.registered) return phone.registering?.challenge ? "code" : "number";
    return phone.call?.state ?? "idle";
  };
  const meter = () => phone.call?.link?.meter ?? null;
  const look = {
    state: { get: state },
    connection: { get: () => phone.connection },
    number: { get: () => phone.identity.session?.phone ?? null },
    subscriber: { get: () => phone.identity.session?.subscriber ?? null },
    call: { get: () => phone.call?.id ?? null },
    activates: { get: () => phone.call?.activates ?? false },
    ended: { get: () => (phone.call?.ended ? { reason: phone.call.ended.reason, cause: phone.call.ended.cause } : null) },
    lastRefusal: { get: () => phone.lastRefusal?.code ?? null },
    granted: { get: () => phone.granted !== null },
    mayCall: { get: () => phone.calling?.on ?? null },
    safetyNumber: { get: () => phone.call?.safety ?? null },
    level: { get: () => meter()?.level() ?? 0 },
    frequency: { get: () => meter()?.frequency() ?? null },
  };
  Object.defineProperty(window, "rollcallPhone", { value: Object.freeze(Object.defineProperties({}, look)) });
}

async function begin() {
  let ui = null;
  const store = await Store.open(name);
  const phone = new Phone(store, { tone: tone > 0 ? tone : null, carrier }, () => {
    ui?.render();
    tabs.tell();
  });
  const tabs = new Tabs(name, {
    held: () => phone.start(),
    elsewhere: (inCall) => phone.restWhile({ inCall, takeOver: () => tabs.takeOver() }),
    give: () => phone.sayFarewell(),
    inCall: () => phone.inCall,
  });
  ui = new Ui(phone, { name, prefilled: query.get("phone") ?? "", suggested: query.get("call") ?? "" });
  publish(phone);
  window.addEventListener("beforeunload", (event) => phone.inCall && event.preventDefault());
  window.addEventListener("pagehide", () => phone.hangUp());
  await tabs.join();
}

function failed(error) {
  console.error(error);
  const words = window.isSecureContext
    ? "This browser lacks something that the phone needs (X25519 and Ed25519 keys, a place to keep them). Use a current Chromium, Firefox or Safari, outside of private windows."
    : "Browsers give keys and the microphone to secure pages only. Open this page by https, or as http://localhost.";
  const title = document.createElement("h1");
  title.textContent = "The phone could not start";
  const body = document.createElement("p");
  body.textContent = words;
  document.querySelector("main").replaceChildren(title, body);
}

begin().catch(failed);
