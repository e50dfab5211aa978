"""Phone numbers: what people write, and who may register."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.accounts.errors import PhoneInvalid, PhoneNotServed
from controlplane.accounts.rules.phone import PhoneNumber, parse_phone

ALICE = "+493090182000"


@pytest.mark.parametrize(
    "written",
    [
        "+493090182000",
        "+49 30 90182000",
        "+49 30 901820-00",
        "+49-30-90182000",
        "+49.30.90182000",
        "+49/30/90182000",
        "+49 (30) 90182000",
        "+49 (0)30 90182000",
        "(+49) 30 / 90182000",
        "(+49)3090182000",
        "0049 30 90182000",
        "00493090182000",
        "00 49 30 90182000",
        "tel:+49-30-90182000",
        "TEL:+493090182000",
        "  +493090182000\t",
        "+49\u00a030\u00a090182000",
        "＋４９３０９０１８２０００",
        "+٤٩٣٠٩٠١٨٢٠٠٠",
        "+49 – 30 – 90182000",
    ],
)
def test_number__in_any_usual_spelling__is_the_same(written: str) -> None:
    assert parse_phone(written) == PhoneNumber(ALICE, "DE")


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        ("", "unreadable"),
        ("hello", "unreadable"),
        ("+1 800 FLOWERS", "unreadable"),
        ("+49 30 90182000 ext 5", "unreadable"),
        ("+493090182000;ext=5", "unreadable"),
        ("+49" + "3" * 80, "unreadable"),
        ("030 90182000", "country_missing"),
        ("110", "country_missing"),
        ("+999123456789", "country_unknown"),
        ("+49110", "too_short"),
        ("+4930", "too_short"),
        ("+49301234567890123", "too_long"),
    ],
)
def test_number__that_nobody_can_have__is_refused(written: str, cause: str) -> None:
    with pytest.raises(PhoneInvalid) as refused:
        parse_phone(written, unassigned=True)

    assert refused.value.extra["cause"] == cause


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        ("+19005550123", "premium"),
        ("+979123456789", "premium"),
        ("+491801234567", "shared_cost"),
        ("+448001234567", "toll_free"),
        ("+80012345678", "toll_free"),
        ("+4970012345678", "personal"),
        ("+8821612345678", "satellite"),
        ("+881612345678", "satellite"),
        ("+870773123456", "satellite"),
    ],
)
@pytest.mark.parametrize("unassigned", [False, True])
def test_number__of_no_person__is_refused_with_its_kind(written: str, cause: str, unassigned: bool) -> None:
    with pytest.raises(PhoneNotServed) as refused:
        parse_phone(written, unassigned=unassigned)

    assert refused.value.extra["cause"] == cause


def test_number__that_no_network_gave_out__counts_in_a_demonstration_only() -> None:
    of_a_film = "+447700900123"

    assert parse_phone(of_a_film, unassigned=True) == PhoneNumber(of_a_film, "GB")
    with pytest.raises(PhoneInvalid) as refused:
        parse_phone(of_a_film)
    assert refused.value.extra["cause"] == "unassigned"


@pytest.mark.parametrize(
    ("written", "country"), [("+12025550123", "US"), ("+14165550123", "CA"), ("+390612345678", "IT")]
)
def test_country__is_that_of_the_number__not_of_the_code(written: str, country: str) -> None:
    assert parse_phone(written).country == country


def test_repr__of_a_number__hides_it() -> None:
    assert "90182000" not in repr(parse_phone(ALICE))


@given(st.text(max_size=80))
def test_any_text__is_a_number_or_refused__and_never_an_error(written: str) -> None:
    try:
        number = parse_phone(written, unassigned=True)
    except (PhoneInvalid, PhoneNotServed):
        return

    assert parse_phone(number.e164, unassigned=True) == number
