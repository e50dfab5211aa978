"""The phone's folder: private, whole, used by one process, and remembered."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from calls.phone import silent
from calls.phone.account import Refused
from calls.phone.identity import BadFolder, Identity
from calls.phone.phone import Device, Phone
from calls.phone.report import Reporter
from tests.phone.arbiter import Arbiter
from tests.phone.conftest import NUMBERS, OpenPhone


async def test_folder__of_a_registered_phone__is_private_and_read_back(phones: OpenPhone) -> None:
    bob = await phones("bob")
    before, subscriber, device = bob.identity.end, bob.identity.subscriber, bob.identity.device
    await bob.__aexit__()

    again = Identity(bob.identity.folder)

    assert (again.end, again.subscriber, again.device, again.phone) == (before, subscriber, device, NUMBERS["bob"])
    assert stat.S_IMODE(again.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in again.folder.iterdir()} == {0o600}
    again.close()


def test_folder__used_by_another_phone__is_refused(tmp_path: Path) -> None:
    first = Identity(tmp_path / "phone")

    with pytest.raises(BadFolder, match="Another phone"):
        Identity(tmp_path / "phone")
    first.close()
    Identity(tmp_path / "phone").close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": 1}', '{"v": 1}'])
def test_folder__damaged__says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "identity.json").write_text(content, encoding="utf-8")

    if content in {"", "{", '{"url": 1}', '{"v": 1}'}:
        with pytest.raises(BadFolder, match="damaged"):
            Identity(tmp_path)
    else:
        Identity(tmp_path).close()  # an empty value is no identity yet


def test_folder__is_a_file__says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "phone").write_text("x", encoding="utf-8")

    with pytest.raises(BadFolder, match="--folder"):
        Identity(tmp_path / "phone")


async def test_register__again_from_a_new_folder__follows_upon_the_old_list(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    bob = await phones("bob")
    old = bob.identity.list_body
    await bob.__aexit__()

    new = await phones("bob", folder="bob's new phone")

    assert new.identity.subscriber == bob.identity.subscriber
    assert new.identity.own_list.epoch == 2
    assert new.identity.own_list.previous != b""
    assert new.identity.list_body != old


async def test_register__without_a_demonstration_code__asks_for_it(arbiter: Arbiter, tmp_path: Path) -> None:
    asked: list[int] = []

    async def code(expires_in: int) -> str:
        asked.append(expires_in)
        return "000000"

    arbiter.tells_codes = False
    async with Phone(tmp_path / "p", arbiter.url, Reporter(as_json=True, quiet=True), silent.maker("")) as phone:
        with pytest.raises(Refused) as refused:
            await phone.register(NUMBERS["bob"], Device(), carrier="262-03", name="bob", code=code)

        assert asked == [600]
        assert refused.value.code == "wrong_code"
        assert not phone.identity.registered


async def test_register__tells_device_carrier_and_keys(arbiter: Arbiter, tmp_path: Path) -> None:
    async with Phone(tmp_path / "p", arbiter.url, Reporter(as_json=True, quiet=True), silent.maker("")) as phone:
        await phone.register(NUMBERS["bob"], Device(platform="ios"), carrier="262-03", name="bob", code=_never)

    said = arbiter.people[NUMBERS["bob"]]["said"]
    assert said["carrier"] == "262-03"
    assert said["device"]["platform"] == "ios"
    assert set(said["keys"]) == {"ed25519", "x25519"}
    assert set(said["device"]) == {
        "id", "platform", "app_version", "os_version", "device_class", "label", "language",
    }  # fmt: skip


async def _never(expires_in: int) -> str:
    await asyncio.sleep(0)
    raise AssertionError


async def test_account__nobody_answers__says_what_to_do(tmp_path: Path) -> None:
    async with Phone(
        tmp_path / "p", "http://127.0.0.1:9", Reporter(as_json=True, quiet=True), silent.maker("")
    ) as phone:
        with pytest.raises(Refused, match="make run") as refused:
            await phone.register(NUMBERS["bob"], Device(), carrier=None, name="", code=_never)

    assert refused.value.code == "unreachable"
