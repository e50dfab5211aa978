"""The environment: every setting that can't be used is refused by name, before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.base import env
from controlplane.base.keys import Keys, derive


def load(data: Path, **settings: str) -> env.Env:
    return env.load({"ROLLCALL_DATA": str(data), **settings})


def test_env__nothing_set__defaults_to_loopback(tmp_path: Path) -> None:
    found = load(tmp_path / "data")

    assert (found.host, found.port, found.console_port) == ("127.0.0.1", 8080, 8081)
    assert found.public_url == "http://127.0.0.1:8080"
    assert not found.demonstration
    assert found.database_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "0"),
        ("CONSOLE_PORT", "70000"),
        ("ROLLCALL_DEMONSTRATION", "maybe"),
        ("RING_SECONDS", "-1"),
        ("TOKEN_SECONDS", "1.5"),
        ("TOKEN_SECONDS", "-5"),
        ("TOKEN_GRACE_SECONDS", "-1"),
        ("CODE_SENDER", "Sender"),
        ("POLL_SECONDS", "soon"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_env__unusable_setting__names_the_variable(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(env.BadSetting, match=f"{name}='{value}' can't be used: expected"):
        load(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROLLCALL_HOST", "0.0.0.0"),
        ("ROLLCALL_PUBLIC_URL", "https://calls.example"),
        ("ALLOWED_HOSTS", "localhost,calls.example"),
        ("ALLOWED_HOSTS", "*"),
    ],
)
def test_demonstration__others_could_reach_it__refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(env.BadSetting, match="ROLLCALL_DEMONSTRATION=0"):
        load(tmp_path / "data", ROLLCALL_DEMONSTRATION="1", **{name: value})

    assert not load(tmp_path / "data", **{name: value}).demonstration
    assert load(tmp_path / "data", ROLLCALL_DEMONSTRATION="1", ROLLCALL_PUBLIC_URL="https://localhost").demonstration


def test_manage__unusable_setting__one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "ROLLCALL_DATA": str(tmp_path), "CONSOLE_PORT": "eighty"}

    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=env.ROOT, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 2
    assert done.stderr == "CONSOLE_PORT='eighty' can't be used: expected a port from 1 to 65535.\n"


def test_secret__none_given__is_made_once_and_private(tmp_path: Path) -> None:
    first = load(tmp_path / "data").secret
    second = load(tmp_path / "data").secret

    assert first == second
    assert len(first) == 32
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("value", ["xyz", "00ff", "0" * 63])
def test_secret__not_64_digits__refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(env.BadSetting, match="ROLLCALL_SECRET must be"):
        load(tmp_path, ROLLCALL_SECRET=value)


def test_secret__damaged_file__refused_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("half a sec")

    with pytest.raises(env.BadSetting, match="is damaged"):
        load(tmp_path)

    assert (tmp_path / "secret").read_text() == "half a sec"


def test_secret__no_permission__says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("controlplane.base.env.os.open", refuse)

    with pytest.raises(env.BadSetting, match=r"No permission to write .*secret: set ROLLCALL_DATA"):
        load(tmp_path)


def test_keys__different_labels__different_keys() -> None:
    secret = bytes(32)

    assert derive(secret, "one") != derive(secret, "two")
    assert derive(secret, "one") == derive(secret, "one")
    assert "00000000" not in repr(Keys(secret))
