"""Mistakes of a deployment, as Django system checks: each with an id, and a hint that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.module_loading import import_string

from controlplane.actions import functions, privileges
from controlplane.base.addresses import is_loopback
from controlplane.base.env import LOG_SENDER, Env

LEAST_BYTES = 16  # different ones in a secret of 32: a drawn one has 30, and never less than 16


def reaches_beyond(env: Env) -> bool:
    """Whether others than this machine can reach the deployment."""
    return not is_loopback(env.host) or not is_loopback(urlsplit(env.public_url).hostname or "")


def mistakes(env: Env) -> list[CheckMessage]:
    """What is wrong whatever the deployment is for."""
    found: list[CheckMessage] = []
    if env.debug and reaches_beyond(env):
        found.append(
            Error(
                "ROLLCALL_DEBUG shows settings and code to whoever meets an error, and others can reach this.",
                hint="Unset ROLLCALL_DEBUG.",
                id="rollcall.E002",
            )
        )
    if "*" in env.allowed_hosts:
        found.append(
            Error(
                "ALLOWED_HOSTS holds a wildcard: any Host header would be believed.",
                hint="Name the hosts, separated by commas: ALLOWED_HOSTS=console.example.org,127.0.0.1",
                id="rollcall.E003",
            )
        )
    if bool(env.turn_urls) != bool(env.turn_secret):
        found.append(
            Error(
                "TURN_URLS and TURN_SECRET belong together, and one of them is missing.",
                hint="Set both, with the static-auth-secret of coturn as TURN_SECRET, or neither.",
                id="rollcall.E004",
            )
        )
    return found


def deployment_mistakes(env: Env) -> list[CheckMessage]:
    """What is wrong once other people depend on the deployment."""
    found: list[CheckMessage] = []
    if env.demonstration:
        found.append(Error("This is a demonstration.", hint="Unset ROLLCALL_DEMONSTRATION.", id="rollcall.E011"))
    if env.database_url and not env.secret_given:
        found.append(
            Error(
                "The master secret lies in the data folder, so each machine has another one.",
                hint="Set the same ROLLCALL_SECRET on every machine: what 'openssl rand -hex 32' prints.",
                id="rollcall.E012",
            )
        )
    if len(set(env.secret)) < LEAST_BYTES:
        found.append(
            Error(
                "The master secret repeats itself: nobody drew it, and it can be guessed.",
                hint="Set ROLLCALL_SECRET to what 'openssl rand -hex 32' prints.",
                id="rollcall.E018",
            )
        )
    if not 60 <= env.token_seconds <= 86_400:
        found.append(
            Error(
                f"Access tokens would live {env.token_seconds} s: phones would refresh all the time, or keep for "
                "days what was taken from them.",
                hint="Set TOKEN_SECONDS to 60 … 86400; 900 is the default.",
                id="rollcall.E019",
            )
        )
    if trouble := _sender_trouble(env.code_sender):
        hint = "Set CODE_SENDER to a class of yours with send(e164, code), by its dotted name."
        found.append(Error(trouble, hint=hint, id="rollcall.E020"))
    return [*found, *_network_mistakes(env)]


def _network_mistakes(env: Env) -> list[CheckMessage]:
    """How phones, operators and the stores are reached."""
    found: list[CheckMessage] = []
    if not env.public_url.startswith("https://"):
        found.append(
            Warning(
                "Phones and operators would use Rollcall without TLS.",
                hint="Put a TLS proxy in front, and set ROLLCALL_PUBLIC_URL=https://…",
                id="rollcall.W013",
            )
        )
    elif not env.trusted_proxies:
        found.append(
            Warning(
                "TLS ends at a proxy that isn't trusted: all phones seem to have its address, and share its limits.",
                hint="Set TRUSTED_PROXIES to the proxy's address or network.",
                id="rollcall.W016",
            )
        )
    if any(network.prefixlen == 0 for network in env.trusted_proxies):
        found.append(
            Error(
                "TRUSTED_PROXIES holds every address: anybody may claim another one, and pass the limits for codes.",
                hint="Name the addresses of your proxies, such as TRUSTED_PROXIES=10.0.3.0/24.",
                id="rollcall.E017",
            )
        )
    if not env.turn_urls:
        found.append(
            Warning(
                "No relay is configured: calls fail between phones that can't reach each other directly.",
                hint="Run coturn, and set TURN_URLS and TURN_SECRET.",
                id="rollcall.W014",
            )
        )
    if not (env.database_url and env.redis_url):
        found.append(
            Warning(
                "PostgreSQL or Redis is the embedded one: it lives and dies with this machine, and nobody backs it up.",
                hint="Set DATABASE_URL and REDIS_URL.",
                id="rollcall.W015",
            )
        )
    return found


def _sender_trouble(name: str) -> str:
    if name == LOG_SENDER:
        return "One-time codes are only written to the log, without the code, so nobody can register."
    try:
        import_string(name)
    except ImportError as error:
        return f"CODE_SENDER can't be loaded: {error}"
    return ""


@register(Tags.security)
def check_mistakes(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    return mistakes(settings.ENV)


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    return deployment_mistakes(settings.ENV)


@register(Tags.database)
def check_owner(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Asked by `manage.py check --database default`, and by `manage.py doctor`."""
    if not kwargs.get("databases") or not (owner := privileges.owner_of_audit()):
        return []
    words = f"The application's database role can act as {owner}, who owns the audit and could change what it holds."
    hint = "Let another role own the tables: set DATABASE_OWNER_URL where 'manage.py migrate' runs, and only there."
    return [Warning(words, hint=hint, id="rollcall.W022")]


@register(Tags.database)
def check_functions(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Asked by `manage.py check --database default`."""
    if not kwargs.get("databases") or not (stale := functions.stale()):
        return []
    words = f"SQL functions in the database differ from this version's: {', '.join(stale)}."
    return [Error(words, hint="Run 'manage.py migrate'.", id="rollcall.E021")]
