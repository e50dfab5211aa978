// Who this phone is to the server: the number, the device and its keys, the tokens, and the signed device list.

import { readList, signList, signRegistration } from "./devices.js";
import { generateKeyPair } from "./noise.js";
import { Problem, unreachable } from "./problem.js";
import { toB64 } from "./bytes.js";

const RENEW_AT = 0.7; // of an access token's life
const APP_VERSION = "1.0.0";

/** Asks the server; a refusal or no answer is a Problem. */
export async function ask(method, path, { body, token } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "omit" });
  } catch {
    throw unreachable();
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const wait = Number(response.headers.get("Retry-After"));
  throw new Problem({ ...(wait > 0 ? { retry_after: wait } : {}), ...answer, status: response.status });
}

async function generateSigningPair() {
  const pair = await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
  return { privateKey: pair.privateKey, publicBytes: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)) };
}

/** The keys of this device and account: made once, private halves not extractable, kept by the browser. */
async function ownKeys(store) {
  const kept = await store.get("kept", "keys");
  if (kept) return kept;
  const keys = {
    device: crypto.randomUUID(),
    account: await generateSigningPair(),
    signing: await generateSigningPair(),
    exchange: await generateKeyPair(),
  };
  await store.put("kept", "keys", keys);
  return keys;
}

function describeThisBrowser() {
  const agent = navigator.userAgent;
  const [, browser, version] = agent.match(/(Firefox|Edg|Chrome|Version)\/([\d.]+)/) ?? [null, "Browser", ""];
  const system = ["Android", "iPhone", "iPad", "Windows", "Mac OS", "CrOS", "Linux"].find((name) => agent.includes(name)) ?? "";
  const name = { Edg: "Edge", Version: "Safari" }[browser] ?? browser;
  return {
    platform: "web",
    app_version: APP_VERSION,
    os_version: `${name} ${version}`.trim().slice(0, 64),
    device_class: (navigator.hardwareConcurrency ?? 2) > 4 ? "high" : "mid",
    label: (system ? `${name} on ${system}` : name).slice(0, 64),
    language: navigator.language,
  };
}

export class Identity {
  /** `onToken(token)` hears of each new access token; `onLost()` when the server no longer knows this device. */
  constructor(store, { onToken, onLost }) {
    this.store = store;
    this.onToken = onToken;
    this.onLost = onLost;
    this.session = null;
    this.renewal = null;
  }

  /** True when this browser is registered already. */
  async load() {
    this.resting = false;
    this.keys = await ownKeys(this.store);
    this.session = await this.store.get("kept", "session");
    const list = await this.store.get("kept", "list");
    if (this.session && list) this.list = { ...list, read: await readList(list, { subscriber: this.session.subscriber }) };
    return Boolean(this.session);
  }

  /** Another tab renews the tokens from now on: a refresh token spent by both would look like theft. */
  rest() {
    this.resting = true;
    clearTimeout(this.timer);
  }

  get token() {
    return this.session?.access;
  }

  requestCode(phone) {
    return ask("POST", "/v1/registration", { body: { phone } });
  }

  async confirmCode({ challenge, code, phone, carrier }) {
    const { language, ...device } = describeThisBrowser();
    const id = crypto.randomUUID(); // an id registers once, also of the same browser
    const keys = { ed25519: toB64(this.keys.signing.publicBytes), x25519: toB64(this.keys.exchange.publicBytes) };
    const answer = await ask("POST", "/v1/registration/verify", {
      body: {
        challenge,
        code,
        device: { id, ...device, language },
        ...(carrier ? { carrier } : {}),
        keys,
        account_signature: await signRegistration({ accountKey: this.keys.account, challenge, device: { id, ...keys } }),
      },
    });
    this.keys = { ...this.keys, device: id };
    await this.store.put("kept", "keys", this.keys);
    await this.#keep(answer, phone);
    await this.publishList();
  }

  /** A token that is good for some minutes; asks for a new one when the present one nears its end. */
  async freshToken() {
    if (Date.now() > this.session.renewAt) await this.renew();
    return this.token;
  }

  /** One renewal at a time: a refresh token spent twice would look like theft. */
  renew() {
    this.renewal ??= this.#renew().finally(() => {
      this.renewal = null;
    });
    return this.renewal;
  }

  async #renew() {
    try {
      const answer = await ask("POST", "/v1/tokens/refresh", { body: { refresh_token: this.session.refresh } });
      await this.#keep(answer, this.session.phone);
    } catch (problem) {
      if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) await this.#lose();
      throw problem;
    }
  }

  async #keep({ subscriber, device, access_token: access, expires_in: seconds, refresh_token: refresh }, phone) {
    const renewAt = Date.now() + seconds * 1000 * RENEW_AT;
    this.session = { subscriber, device, phone, access, refresh, renewAt };
    await this.store.put("kept", "session", this.session);
    clearTimeout(this.timer);
    if (!this.resting) this.timer = setTimeout(() => this.renew().catch(() => {}), Math.max(1000, renewAt - Date.now()));
    this.onToken(access);
  }

  async #lose() {
    clearTimeout(this.timer);
    this.session = null;
    await this.store.put("kept", "session", null);
    this.onLost();
  }

  async signOut() {
    const { refresh } = this.session;
    clearTimeout(this.timer);
    await ask("POST", "/v1/tokens/revoke", { body: { refresh_token: refresh } }).catch(() => {});
    this.session = null;
    await this.store.forgetEverything();
  }

  /** Publishes this account's device list unless the server has it. Another device may have gone ahead: then follow it. */
  async publishList() {
    if (this.list?.read.subscriber === this.session.subscriber && this.list.read.devices.has(this.keys.device)) return;
    try {
      await this.#publish({ epoch: 1, previous: null });
    } catch (problem) {
      if (![400, 409, 422].includes(problem.status)) throw problem;
      const latest = await ask("GET", "/v1/device-list", { token: this.token }).catch(() => Promise.reject(problem));
      const before = await readList(latest, { subscriber: this.session.subscriber });
      await this.#publish({ epoch: before.epoch + 1, previous: before.body });
    }
  }

  async #publish({ epoch, previous }) {
    const { subscriber } = this.session;
    const own = {
      id: this.keys.device,
      ed25519: toB64(this.keys.signing.publicBytes),
      x25519: toB64(this.keys.exchange.publicBytes),
    };
    const signed = await signList({ accountKey: this.keys.account, subscriber, epoch, previous, devices: [own] });
    await ask("PUT", "/v1/device-list", { body: signed, token: await this.freshToken() });
    this.list = { ...signed, read: await readList(signed, { subscriber }) };
    await this.store.put("kept", "list", signed);
  }

  /** This end of a call, for the prologue. */
  get party() {
    const { subscriber, phone } = this.session;
    const { epoch, accountKey } = this.list.read;
    return { account: subscriber, device: this.keys.device, epoch, key: toB64(accountKey), phone };
  }
}

