"""Every cause as a whole sentence: the phone, the console and `explain` say the same.

Plain Python.
"""

from __future__ import annotations

from typing import assert_never

from rollout.rules.decision.decision import Cause, Decision

NEEDS = {
    "platform": "This feature is not offered on this kind of device.",
    "device_class": "This device doesn't have what the feature needs.",
}


def say(decision: Decision) -> str:
    """Why the decision came out as it did, said to the person whom it is about."""
    detail = decision.detail
    match decision.cause:
        case Cause.KILLED:
            return "This is stopped for everybody for now. Nothing is wrong with your phone."
        case Cause.SWITCHED_OFF:
            return "This is switched off for everybody at the moment."
        case Cause.UPDATE_REQUIRED:
            return f"Update the app to version {detail['version']} or later to use this."
        case Cause.OS_UPDATE_REQUIRED:
            return f"Your phone's system needs to be version {detail['version']} or later to use this."
        case Cause.DEVICE_UNSUPPORTED:
            return NEEDS[detail["trait"]]
        case Cause.NEEDS_FEATURE:
            return f"This needs {detail.get('needs', 'something else')} first, which you don't have."
        case Cause.WAITING_FOR_WAVE:
            return _turn(decision)
        case Cause.WAITING_FOR_LAUNCH:
            return f"You don't have this yet: it comes to you with the launch. {_invite(decision)}".strip()
        case Cause.GRANTED_BY_WAVE:
            return "You have this: your turn in the rollout has come."
        case Cause.GRANTED_BY_INVITE:
            return "You have this: somebody who has it called you."
        case Cause.GRANTED_BY_OPERATOR | Cause.GRANTED_BY_SEED | Cause.GRANTED_BY_LAUNCH:
            return "You have this: it was given to you."
        case Cause.LAUNCHED:
            return "You have this: it is open to everybody."
        case Cause.RULE:
            return f"You have this by the rule “{detail['rule']}”."
        case Cause.DEFAULT:
            return "You don't have this: none of its rules covers you."
        case Cause.UNKNOWN_FEATURE:
            return "There is no such feature."
        case Cause.ERROR:
            return "This could not be decided, so it is off. The operators have been told."
        case _:
            assert_never(decision.cause)


def _turn(decision: Decision) -> str:
    detail = decision.detail
    wave = f"wave {detail['wave_position']}, “{detail['wave']}”"
    states = {
        "draft": f"You are in {wave}, which has not begun yet.",
        "open": f"You are in {wave}, which is under way: your turn is not here yet.",
        "held": f"You are in {wave}, which is paused for the moment.",
    }
    return f"{states[detail['wave_state']]} {_invite(decision)}".strip()


def _invite(decision: Decision) -> str:
    if decision.detail.get("invite") == "open":
        return "An invite opens it sooner: somebody who has it can call you."
    return ""
