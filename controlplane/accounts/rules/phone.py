"""Phone numbers: from what people write to E.164, and which kinds may register."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType, ValidationResult

from controlplane.accounts.errors import PhoneInvalid, PhoneNotServed

LONGEST_SPELLING = 64
MOST_DIGITS = 15  # ITU-T E.164, with the country code
SATELLITE_CODES = frozenset({870, 881, 882, 883})  # Inmarsat, GMSS, international networks
PERSONS = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
    }
)
KINDS = {
    PhoneNumberType.PREMIUM_RATE: ("premium", "Premium-rate numbers can't register. Use the number of a person."),
    PhoneNumberType.SHARED_COST: ("shared_cost", "Shared-cost numbers can't register. Use the number of a person."),
    PhoneNumberType.TOLL_FREE: ("toll_free", "Toll-free numbers can't register. Use the number of a person."),
    PhoneNumberType.PERSONAL_NUMBER: ("personal", "Forwarding numbers can't register. Use the number of a phone."),
    PhoneNumberType.PAGER: ("pager", "Pagers can't register. Use the number of a phone."),
    PhoneNumberType.UAN: ("company", "Company access numbers can't register. Use the number of a person."),
    PhoneNumberType.VOICEMAIL: ("voicemail", "Voicemail numbers can't register. Use the number of a phone."),
}
UNREADABLE = {
    NumberParseException.INVALID_COUNTRY_CODE: "country_unknown",
    NumberParseException.TOO_SHORT_NSN: "too_short",
    NumberParseException.TOO_SHORT_AFTER_IDD: "too_short",
    NumberParseException.TOO_LONG: "too_long",
}
LETTERS = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number in E.164 form, such as +493090182000, and its country (ISO 3166). The repr hides the number."""

    e164: str = field(repr=False)
    country: str

    @property
    def block(self) -> str:
        """The thousand neighbouring numbers that it belongs to."""
        return self.e164[:-3]


def parse_phone(written: str, *, unassigned: bool = False) -> PhoneNumber:
    """The number that somebody wrote, with its country code, in any usual spelling.

    `unassigned` also takes numbers of a right length that no network has given out (for a demonstration, which sends
    no messages). Raises PhoneInvalid and PhoneNotServed, each with a cause.
    """
    number = _read(written)
    if number.country_code in SATELLITE_CODES:
        raise PhoneNotServed("Satellite numbers can't register. Use another number.", cause="satellite")
    _require_length(number)
    kind = phonenumbers.number_type(number)
    if kind in KINDS:
        cause, detail = KINDS[kind]
        raise PhoneNotServed(detail, cause=cause)
    country = phonenumbers.region_code_for_number(number) or phonenumbers.region_code_for_country_code(
        number.country_code or 0
    )
    if country in {"001", "ZZ"}:
        raise PhoneNotServed("Numbers of no country can't register. Use the number of a person.", cause="no_country")
    if kind not in PERSONS and not unassigned:
        raise PhoneInvalid("No network has given out this number. Check its digits.", cause="unassigned")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return PhoneNumber(e164, country)


def _read(written: str) -> phonenumbers.PhoneNumber:
    text = unicodedata.normalize("NFKC", written).strip()
    if not text or len(written) > LONGEST_SPELLING:
        raise PhoneInvalid("Write a phone number with its country code, such as +49 30 901820.", cause="unreadable")
    text = re.sub(r"\Atel:", "", text, flags=re.IGNORECASE)
    if LETTERS.search(text):
        raise PhoneInvalid("Write the number in digits, without letters or an extension.", cause="unreadable")
    text = re.sub(r"\A[\s(]*00(?=[\s()/.-]*[1-9])", "+", text)
    if "+" not in text:
        raise PhoneInvalid("Begin the number with + and the country code, such as +49.", cause="country_missing")
    try:
        number = phonenumbers.parse(text, None)
    except NumberParseException as error:
        cause = UNREADABLE.get(error.error_type, "unreadable")
        raise PhoneInvalid("This can't be read as a phone number. Check its digits.", cause=cause) from None
    if number.extension:
        raise PhoneInvalid("Leave out the extension: only whole numbers can register.", cause="unreadable")
    return number


def _require_length(number: phonenumbers.PhoneNumber) -> None:
    reason = phonenumbers.is_possible_number_with_reason(number)
    digits = len(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)) - 1
    if digits > MOST_DIGITS:
        reason = ValidationResult.TOO_LONG
    if reason == ValidationResult.IS_POSSIBLE:
        return
    if reason == ValidationResult.INVALID_COUNTRY_CODE:
        raise PhoneInvalid("No country has this code. Check the digits after the +.", cause="country_unknown")
    if reason == ValidationResult.TOO_LONG:
        raise PhoneInvalid("The number is too long. Check its digits.", cause="too_long")
    raise PhoneInvalid("The number is too short. Short and emergency numbers can't register.", cause="too_short")
