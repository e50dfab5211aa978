// What GET /v1/me/features says about calling, as the dial screen needs it.

const CALLING = "voice-calls";

/** {on, words, invitesLeft, nextInviteAt}; `invitesLeft` is null where there is nothing to say about invites. */
export function callingOf({ features = [] } = {}) {
  const feature = features.find(({ key }) => key === CALLING) ?? null;
  if (feature === null) return { on: false, words: "Calling is not offered here yet.", invitesLeft: null, nextInviteAt: null };
  const invites = feature.invites ?? null;
  return {
    on: feature.value === true,
    words: feature.words ?? "",
    invitesLeft: invites?.left ?? null,
    nextInviteAt: invites?.next_at ?? null,
  };
}
