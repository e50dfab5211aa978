// What GET /v1/me/features says about calling, as the dial screen needs it.

const CALLING = "voice-calls";

/** {on, cause, words, invites}: sentences for the dial screen; `invites` is null where there is nothing to say about invites. */
export function callingOf({ features = [] } = {}) {
  const feature = features.find(({ key }) => key === CALLING) ?? null;
  if (feature === null) return { on: false, cause: null, words: "Calling is not offered here yet.", invites: null };
  return { on: feature.enabled === true, cause: feature.cause ?? null, words: feature.words ?? "", invites: feature.invites?.words ?? null };
}
