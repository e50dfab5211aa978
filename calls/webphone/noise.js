// Noise_IK_25519_AESGCM_SHA256 (Noise Protocol Framework, revision 34) on WebCrypto: the same steps as calls/rules/noise_ik.py.
//
//   IK:  <- s
//        ...
//        -> e, es, s, ss      message 1, rides in the invite
//        <- e, ee, se         message 2, rides in the accept
//
// Private keys stay CryptoKeys (the device's own is not extractable); only chaining keys and public keys are bytes here.

import { EMPTY, concat, sha256, utf8 } from "./bytes.js";

const PROTOCOL = utf8("Noise_IK_25519_AESGCM_SHA256");
const DH_LENGTH = 32;
const TAG_LENGTH = 16;

/** A message that can't be read, or a key that must not be used. Nothing of the handshake may be used after it. */
export class NoiseError extends Error {
  name = "NoiseError";
}

export async function generateKeyPair({ extractable = false } = {}) {
  const pair = await crypto.subtle.generateKey({ name: "X25519" }, extractable, ["deriveBits"]);
  const publicBytes = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return { privateKey: pair.privateKey, publicBytes };
}

/** The 32 bytes that both sides share. A low-order point (a shared secret of zeros) aborts. */
export async function dh(privateKey, publicBytes) {
  if (publicBytes.length !== DH_LENGTH) throw new NoiseError("A public key has 32 bytes.");
  const publicKey = await crypto.subtle.importKey("raw", publicBytes, { name: "X25519" }, true, []);
  let shared;
  try {
    shared = new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: publicKey }, privateKey, 256));
  } catch (error) {
    throw new NoiseError("The key exchange was refused: the other side's key is a low-order point.", { cause: error });
  }
  if (shared.every((byte) => byte === 0)) throw new NoiseError("The other side's key is a low-order point.");
  return shared;
}

async function hmac(key, data) {
  const handle = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", handle, data));
}

/** Noise's HKDF with two outputs (section 4.3). */
async function hkdf2(chainingKey, material) {
  const temporary = await hmac(chainingKey, material);
  const first = await hmac(temporary, Uint8Array.of(1));
  const second = await hmac(temporary, concat(first, Uint8Array.of(2)));
  return [first, second];
}

/** Four zero bytes and the counter, big-endian: the AESGCM nonce of section 12.4. */
function nonce(counter) {
  const bytes = new Uint8Array(12);
  new DataView(bytes.buffer).setBigUint64(4, BigInt(counter));
  return bytes;
}

/** One direction's key. The counter is the caller's business: blob.js sends it along and refuses a repeated one. */
export class Cipher {
  #key;

  static async of(keyBytes) {
    const cipher = new Cipher();
    cipher.#key = await crypto.subtle.importKey("raw", keyBytes, "AES-GCM", false, ["encrypt", "decrypt"]);
    return cipher;
  }

  async seal(counter, associated, plaintext) {
    const parameters = { name: "AES-GCM", iv: nonce(counter), additionalData: associated };
    return new Uint8Array(await crypto.subtle.encrypt(parameters, this.#key, plaintext));
  }

  async open(counter, associated, ciphertext) {
    const parameters = { name: "AES-GCM", iv: nonce(counter), additionalData: associated };
    try {
      return new Uint8Array(await crypto.subtle.decrypt(parameters, this.#key, ciphertext));
    } catch (error) {
      throw new NoiseError("A message could not be authenticated.", { cause: error });
    }
  }
}

/** The symmetric state of section 5.2: chaining key, transcript hash, and the key of the moment. */
class Transcript {
  static async begin(prologue, responderStatic) {
    const state = new Transcript();
    const padded = new Uint8Array(32);
    padded.set(PROTOCOL); // 28 bytes: short enough to stand unhashed
    state.hash = padded;
    state.chainingKey = padded;
    state.cipher = null;
    state.counter = 0;
    await state.mixHash(prologue);
    await state.mixHash(responderStatic);
    return state;
  }

  async mixHash(data) {
    this.hash = await sha256(concat(this.hash, data));
  }

  async mixKey(material) {
    const [chainingKey, key] = await hkdf2(this.chainingKey, material);
    this.chainingKey = chainingKey;
    this.cipher = await Cipher.of(key);
    this.counter = 0;
  }

  async encryptAndHash(plaintext) {
    const ciphertext = await this.cipher.seal(this.counter, this.hash, plaintext);
    this.counter += 1;
    await this.mixHash(ciphertext);
    return ciphertext;
  }

  async decryptAndHash(ciphertext) {
    const plaintext = await this.cipher.open(this.counter, this.hash, ciphertext);
    this.counter += 1;
    await this.mixHash(ciphertext);
    return plaintext;
  }

  async split() {
    const [first, second] = await hkdf2(this.chainingKey, EMPTY);
    return { initiatorToResponder: await Cipher.of(first), responderToInitiator: await Cipher.of(second) };
  }
}

/** The caller's side: writeFirst(payload), then readSecond(message). Each may be used once. */
export class Initiator {
  #transcript;
  #own;
  #ephemeral;
  #remote;

  static async begin({ prologue, own, remoteStatic, ephemeral = null }) {
    const side = new Initiator();
    side.#own = own;
    side.#remote = remoteStatic;
    side.#ephemeral = ephemeral ?? (await generateKeyPair());
    side.#transcript = await Transcript.begin(prologue, remoteStatic);
    return side;
  }

  async writeFirst(payload) {
    const state = this.#transcript;
    await state.mixHash(this.#ephemeral.publicBytes);
    await state.mixKey(await dh(this.#ephemeral.privateKey, this.#remote));
    const sealedStatic = await state.encryptAndHash(this.#own.publicBytes);
    await state.mixKey(await dh(this.#own.privateKey, this.#remote));
    const sealedPayload = await state.encryptAndHash(payload);
    return concat(this.#ephemeral.publicBytes, sealedStatic, sealedPayload);
  }

  async readSecond(message) {
    if (message.length < DH_LENGTH + TAG_LENGTH) throw new NoiseError("The second message is too short.");
    const state = this.#transcript;
    const ephemeral = message.slice(0, DH_LENGTH);
    await state.mixHash(ephemeral);
    await state.mixKey(await dh(this.#ephemeral.privateKey, ephemeral));
    await state.mixKey(await dh(this.#own.privateKey, ephemeral));
    const payload = await state.decryptAndHash(message.slice(DH_LENGTH));
    const keys = await state.split();
    return { payload, hash: state.hash, send: keys.initiatorToResponder, receive: keys.responderToInitiator };
  }
}

/** The answering side: readFirst(message), then writeSecond(payload). Each may be used once. */
export class Responder {
  #transcript;
  #own;
  #ephemeral;
  #remote;
  #remoteEphemeral;

  static async begin({ prologue, own, ephemeral = null }) {
    const side = new Responder();
    side.#own = own;
    side.#ephemeral = ephemeral ?? (await generateKeyPair());
    side.#transcript = await Transcript.begin(prologue, own.publicBytes);
    return side;
  }

  /** Gives the payload and the static key that the caller proved to hold; compare it with his device list. */
  async readFirst(message) {
    if (message.length < DH_LENGTH * 2 + TAG_LENGTH * 2) throw new NoiseError("The first message is too short.");
    const state = this.#transcript;
    this.#remoteEphemeral = message.slice(0, DH_LENGTH);
    await state.mixHash(this.#remoteEphemeral);
    await state.mixKey(await dh(this.#own.privateKey, this.#remoteEphemeral));
    this.#remote = await state.decryptAndHash(message.slice(DH_LENGTH, DH_LENGTH * 2 + TAG_LENGTH));
    await state.mixKey(await dh(this.#own.privateKey, this.#remote));
    const payload = await state.decryptAndHash(message.slice(DH_LENGTH * 2 + TAG_LENGTH));
    return { payload, remoteStatic: this.#remote };
  }

  async writeSecond(payload) {
    const state = this.#transcript;
    await state.mixHash(this.#ephemeral.publicBytes);
    await state.mixKey(await dh(this.#ephemeral.privateKey, this.#remoteEphemeral));
    await state.mixKey(await dh(this.#ephemeral.privateKey, this.#remote));
    const sealed = await state.encryptAndHash(payload);
    const keys = await state.split();
    return {
      message: concat(this.#ephemeral.publicBytes, sealed),
      hash: state.hash,
      send: keys.responderToInitiator,
      receive: keys.initiatorToResponder,
    };
  }
}
