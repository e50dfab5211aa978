// Sound and its way to the other phone: the microphone (or a tone), one peer connection, a meter, and what it measures.

import { equal, fromHex, sha256 } from "./bytes.js";
import { buildSdp, fieldsOf } from "./sdp.js";

const GATHER_MS = 2000;
const FFT_SIZE = 8192;

/** The microphone could not be had; the message says what to do. */
export class MicrophoneError extends Error {
  name = "MicrophoneError";
}

const MICROPHONE_WORDS = {
  NotAllowedError: "The browser doesn't let this page use the microphone. Allow it beside the address of the page, then call again.",
  NotFoundError: "There is no microphone here. Plug one in, or open this page with ?tone=440 to send a tone instead.",
  NotReadableError: "Another program is using the microphone. Close it there, then try again.",
};

/** Asks for the microphone. Needed in tone mode as well: only with this permission does Chromium name this machine's addresses. */
async function askForMicrophone() {
  if (!navigator.mediaDevices) {
    throw new MicrophoneError("The browser gives the microphone to secure pages only: open this page by https, or on localhost.");
  }
  try {
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    return await navigator.mediaDevices.getUserMedia({ audio, video: false });
  } catch (error) {
    throw new MicrophoneError(MICROPHONE_WORDS[error.name] ?? "The microphone can't be used right now.", { cause: error });
  }
}

/** What we send: a track, muted until the call is confirmed. `tone` in hertz, or null for the microphone. */
export class Source {
  static async open(tone) {
    const source = new Source();
    if (tone === null) {
      source.stream = await askForMicrophone();
    } else {
      await source.#openTone(tone);
    }
    source.track = source.stream.getAudioTracks()[0];
    source.track.enabled = false;
    return source;
  }

  async #openTone(tone) {
    const permission = await askForMicrophone().catch(() => null); // a tone works without, as long as addresses are known
    permission?.getTracks().forEach((track) => track.stop());
    this.context = new AudioContext();
    const oscillator = new OscillatorNode(this.context, { frequency: tone });
    const volume = new GainNode(this.context, { gain: 0.3 });
    const out = new MediaStreamAudioDestinationNode(this.context, { channelCount: 1 });
    oscillator.connect(volume).connect(out);
    oscillator.start();
    await this.context.resume();
    this.stream = out.stream;
  }

  close() {
    this.stream.getTracks().forEach((track) => track.stop());
    this.context?.close();
  }
}

/** Level and pitch of what is heard. */
class Meter {
  constructor(stream) {
    this.context = new AudioContext();
    this.analyser = new AnalyserNode(this.context, { fftSize: FFT_SIZE, smoothingTimeConstant: 0.2 });
    new MediaStreamAudioSourceNode(this.context, { mediaStream: stream }).connect(this.analyser);
    this.wave = new Float32Array(2048);
    this.spectrum = new Float32Array(this.analyser.frequencyBinCount);
    this.context.resume();
  }

  /** Root mean square from 0 to 1. */
  level() {
    this.analyser.getFloatTimeDomainData(this.wave);
    return Math.sqrt(this.wave.reduce((sum, value) => sum + value * value, 0) / this.wave.length);
  }

  /** The loudest frequency in hertz, exact to about 6, or null in silence. */
  frequency() {
    if (this.level() < 0.005) return null;
    this.analyser.getFloatFrequencyData(this.spectrum);
    let loudest = 1;
    for (let i = 2; i < this.spectrum.length; i += 1) if (this.spectrum[i] > this.spectrum[loudest]) loudest = i;
    return Math.round((loudest * this.context.sampleRate) / FFT_SIZE);
  }

  close() {
    this.context.close();
  }
}

/**
 * One peer connection of one call. `on` = {channel(text), open(), state("connected"|"disconnected"|"failed")}.
 * Nothing is heard or sent before `release()`, which the call does once the other phone has confirmed the handshake.
 */
export class Link {
  constructor({ iceServers, source, on }) {
    this.on = on;
    this.source = source;
    this.meter = null;
    this.released = false;
    const configuration = { iceServers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" };
    this.connection = new RTCPeerConnection(configuration);
    this.connection.onconnectionstatechange = () => on.state(this.connection.connectionState);
    this.connection.ontrack = ({ track }) => this.#hear(track);
  }

  /** The callee's half: our offer's fields. */
  async offer() {
    this.connection.addTransceiver(this.source.track, { direction: "sendrecv", streams: [this.source.stream] });
    this.#openChannel();
    await this.connection.setLocalDescription(await this.connection.createOffer());
    await this.#gathered();
    return fieldsOf(this.connection.localDescription.sdp, "actpass");
  }

  async takeAnswer(fields) {
    this.expected = fields.fp;
    await this.connection.setRemoteDescription({ type: "answer", sdp: buildSdp(fields, "active") });
  }

  /** The caller's half: takes the callee's offer, gives our answer's fields. */
  async answer(fields) {
    this.expected = fields.fp;
    await this.connection.setRemoteDescription({ type: "offer", sdp: buildSdp(fields, "actpass") });
    const [transceiver] = this.connection.getTransceivers();
    await transceiver.sender.replaceTrack(this.source.track);
    transceiver.direction = "sendrecv";
    this.#openChannel();
    await this.connection.setLocalDescription(await this.connection.createAnswer());
    await this.#gathered();
    return fieldsOf(this.connection.localDescription.sdp, "active");
  }

  #openChannel() {
    this.channel = this.connection.createDataChannel("rollcall", { negotiated: true, id: 0 });
    this.channel.onopen = () => this.on.open();
    this.channel.onmessage = ({ data }) => this.on.channel(data);
  }

  /** Until all candidates are known, but no longer than two seconds. */
  #gathered() {
    if (this.connection.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHER_MS);
      this.connection.addEventListener("icegatheringstatechange", () => {
        if (this.connection.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Whether the certificate at the other end of DTLS is the one whose fingerprint came sealed. */
  async peerIsExpected() {
    const certificates = this.connection.sctp?.transport.getRemoteCertificates() ?? [];
    if (certificates.length === 0) return false;
    return equal(await sha256(new Uint8Array(certificates[0])), fromHex(this.expected));
  }

  #hear(track) {
    track.enabled = false;
    this.remote = new MediaStream([track]);
    this.speaker = new Audio();
    this.speaker.srcObject = this.remote;
    this.speaker.muted = true;
    this.speaker.play().catch(() => {}); // without a tap the browser may refuse; #listen() tries again
    if (this.released) this.#listen();
  }

  release() {
    this.released = true;
    this.source.track.enabled = true;
    if (this.remote) this.#listen(); // else the track comes later, and is heard then
  }

  #listen() {
    this.remote.getAudioTracks()[0].enabled = true;
    this.speaker.muted = false;
    this.speaker.play().catch(() => {});
    this.meter = new Meter(this.remote);
  }

  mute(muted) {
    this.source.track.enabled = !muted;
  }

  /** {packets, lost, lossPercent, jitterMs, roundTripMs, path} of what is received, or null before anything came. */
  async quality() {
    const stats = [...(await this.connection.getStats()).values()];
    const received = stats.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
    if (!received) return null;
    const pair = stats.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
    const local = stats.find(({ id }) => id === pair?.localCandidateId);
    const lost = Math.max(0, received.packetsLost ?? 0);
    const packets = received.packetsReceived ?? 0;
    return {
      packets,
      lost,
      lossPercent: packets + lost ? (100 * lost) / (packets + lost) : 0,
      jitterMs: Math.round(1000 * (received.jitter ?? 0)),
      roundTripMs: pair?.currentRoundTripTime === undefined ? null : Math.round(1000 * pair.currentRoundTripTime),
      path: local?.candidateType === "relay" ? "relay" : "direct",
    };
  }

  close() {
    this.connection.onconnectionstatechange = null;
    if (this.channel) this.channel.onopen = this.channel.onmessage = null;
    this.speaker?.pause();
    this.meter?.close();
    this.connection.close();
  }
}
