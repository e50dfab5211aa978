// What this phone remembers, in IndexedDB: one database per identity, so that several live side by side in one browser.
// CryptoKeys are stored as they are; the browser keeps the private halves, and page code can't read them.

const STORES = ["kept", "contacts", "calls", "seen"];
const VERSION = 2;
const DAY_MS = 86_400_000;

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const done = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });

export class Store {
  #database;

  static async open(name) {
    const request = indexedDB.open(name ? `rollcall-phone:${name}` : "rollcall-phone", VERSION);
    request.onupgradeneeded = () => {
      const { result } = request;
      STORES.filter((store) => !result.objectStoreNames.contains(store)).forEach((store) => result.createObjectStore(store));
    };
    const store = new Store();
    store.#database = await settled(request);
    return store;
  }

  async get(store, key) {
    return (await settled(this.#on(store, "readonly").get(key))) ?? null;
  }

  async put(store, key, value) {
    await settled(this.#on(store, "readwrite").put(value, key));
  }

  /** Keeps a contact under its account key, in the place of all `before`. */
  async keepContact(contact, before) {
    const transaction = this.#database.transaction("contacts", "readwrite");
    const contacts = transaction.objectStore("contacts");
    before.forEach(({ accountKey }) => contacts.delete(accountKey));
    contacts.put(contact, contact.accountKey);
    await done(transaction);
  }

  async all(store) {
    return settled(this.#on(store, "readonly").getAll());
  }

  /** Says true once per key: a call id that was seen in the last 24 hours must not ring again. */
  async firstSight(key, now) {
    const transaction = this.#database.transaction("seen", "readwrite");
    const seen = transaction.objectStore("seen");
    const before = await settled(seen.get(key));
    if (before === undefined) seen.put(now, key);
    const cursor = seen.openCursor();
    cursor.onsuccess = () => {
      if (!cursor.result) return;
      if (cursor.result.value < now - DAY_MS) cursor.result.delete();
      cursor.result.continue();
    };
    await done(transaction);
    return before === undefined;
  }

  /** Keeps the newest calls only. */
  async keepCall(call, { most = 50 } = {}) {
    await this.put("calls", call.id, call);
    const calls = (await this.all("calls")).sort((a, b) => b.at - a.at);
    const on = this.#on("calls", "readwrite");
    await Promise.all(calls.slice(most).map(({ id }) => settled(on.delete(id))));
  }

  async forgetEverything() {
    const transaction = this.#database.transaction(STORES, "readwrite");
    STORES.forEach((store) => transaction.objectStore(store).clear());
    await done(transaction);
  }

  #on(store, mode) {
    return this.#database.transaction(store, mode).objectStore(store);
  }
}
