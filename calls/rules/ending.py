"""Why a call ended: the closed list, and what each reason is called elsewhere.

SIP codes follow RFC 3261 section 21 and RFC 3326; CallKit reasons are Apple's `CXCallEndedReason`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The closed list of end reasons."""

    HANGUP = "hangup"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"
    UNAVAILABLE = "unavailable"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    GLARE_MERGED = "glare_merged"
    REPLACED = "replaced"
    SETUP_FAILED = "setup_failed"
    MEDIA_LOST = "media_lost"
    SECURITY_ERROR = "security_error"
    STOPPED = "stopped"
    GRANT_ENDED = "grant_ended"
    LOST = "lost"
    NOT_ACTIVATED = "not_activated"


@dataclass(frozen=True, slots=True)
class Ending:
    """What one end reason is called in SIP, in CallKit and in words."""

    sip: int
    phrase: str
    callkit: str
    words: str


ENDINGS: Mapping[Reason, Ending] = {
    Reason.HANGUP: Ending(200, "OK (BYE)", "remoteEnded", "The call ended."),
    Reason.CANCELLED: Ending(487, "Request Terminated", "unanswered", "The caller hung up before anybody answered."),
    Reason.DECLINED: Ending(603, "Decline", "declinedElsewhere", "The call was declined."),
    Reason.BUSY: Ending(486, "Busy Here", "remoteEnded", "The other person is in another call."),
    Reason.NO_ANSWER: Ending(480, "Temporarily Unavailable", "unanswered", "Nobody answered."),
    Reason.UNREACHABLE: Ending(408, "Request Timeout", "unanswered", "The other phone could not be reached."),
    Reason.UNAVAILABLE: Ending(480, "Temporarily Unavailable", "failed", "This person can't be called now."),
    Reason.ANSWERED_ELSEWHERE: Ending(
        200, "Call completed elsewhere", "answeredElsewhere", "The call was answered on another device."
    ),
    Reason.GLARE_MERGED: Ending(
        491, "Request Pending", "remoteEnded", "Both people called each other; the first call goes on."
    ),
    Reason.REPLACED: Ending(
        487, "Replaced", "remoteEnded", "A newer call between the same two people took this call's place."
    ),
    Reason.SETUP_FAILED: Ending(
        488, "Not Acceptable Here", "failed", "The two phones could not build a connection in time."
    ),
    Reason.MEDIA_LOST: Ending(503, "Media lost", "failed", "The connection between the two phones broke."),
    Reason.SECURITY_ERROR: Ending(
        488, "Security error", "failed", "A security check failed, so the call was ended to protect it."
    ),
    Reason.STOPPED: Ending(503, "Service Unavailable", "failed", "Calling was stopped by the operator."),
    Reason.GRANT_ENDED: Ending(403, "Forbidden", "failed", "Calling was taken back from one of the two people."),
    Reason.LOST: Ending(408, "No sign of life", "failed", "One of the phones gave no sign of life any more."),
    Reason.NOT_ACTIVATED: Ending(
        403, "Not activated", "failed", "Answering could not turn calling on, so the call ended."
    ),
}

CAUSES: Mapping[str, str] = {
    "window_closed": "The invite window closed before the call was answered; try again when a window is open.",
    "budget_spent": "All places of the invite window are taken; try again when another window opens.",
    "throttled": "The network can't carry more new people right now; try again in a few minutes.",
    "quota_spent": "The caller's invites are used up for now.",
    "depth": "The caller was invited too recently in the chain to bring in others in this window.",
    "root_budget": "The branch of invites that the caller belongs to is full for this window.",
    "inviter_too_new": "The caller has had calling for too short a time to bring in others.",
    "inviter_frozen": "The caller can't bring in others at the moment.",
    "callee_ineligible": "The called phone can't have calling yet.",
    "callee_opted_out": "The called person doesn't accept invites.",
    "rate_limited": "Too many calls in a short time; wait a little.",
    "no_reservation": "The place that was kept for this call had run out; call again.",
    "try_again": "The answer could not be recorded in time; call again in a moment.",
    "overdue": "The answer could not be recorded in time; call again in a moment.",
    "store_lost": "The signaling service lost track of the call; call again.",
    "device_revoked": "One of the phones was signed out.",
}

PHONE_REASONS = (Reason.HANGUP, Reason.MEDIA_LOST, Reason.SECURITY_ERROR, Reason.SETUP_FAILED)
"""What a phone may name when it ends a call by itself."""

UNHEARD = frozenset({Reason.ANSWERED_ELSEWHERE, Reason.DECLINED, Reason.BUSY, Reason.GLARE_MERGED})
"""A phone that wakes up after one of these shows no missed call: somebody has already dealt with it."""


def words(reason: Reason, cause: str | None) -> str:
    """One or two whole sentences for a person: what happened and, where something can be done, what."""
    sentence = ENDINGS[reason].words
    return f"{sentence} {CAUSES[cause]}" if cause is not None and cause in CAUSES else sentence
