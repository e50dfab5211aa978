"""What `manage.py run` prints once everything answers: where to go, how to sign in, what to try."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.base.env import Env
from controlplane.base.locations import loopback

RULE = "─" * 78


def demonstration(env: Env) -> Mapping[str, Any]:
    """What the seed command left in the data folder; empty where nothing was seeded."""
    try:
        found = json.loads((env.state / "demonstration.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def banner(env: Env, excuses: Sequence[str] = ()) -> list[str]:
    """Whole lines, each command copyable. `excuses` says which processes aren't ready."""
    seeded = demonstration(env)
    console = seeded.get("console") or {}
    lines = [RULE, f"  Rollcall runs. Data folder: {env.data}", ""]
    if env.demonstration:
        words = "  This is a demonstration: one-time codes come with the answer, and it answers this machine only."
        lines += [words, ""]
    lines.append(f"  Console        http://{loopback(env.host)}:{env.console_port}/console/")
    if console:
        lines.append(f"                 user {console.get('user')}   password {console.get('password')}")
    else:
        lines.append("                 make an operator with: .venv/bin/python manage.py createsuperuser")
    lines.append(f"  REST           http://{loopback(env.host)}:{env.console_port}/api/docs")
    lines.append("                 make a key with: .venv/bin/python manage.py apikey create me --scopes read,operate")
    lines.append(f"  Phones         {env.public_url}/")
    people = seeded.get("people") or []
    for index, person in enumerate(people):
        title = "  People         " if index == 0 else " " * 17
        lines.append(f"{title}{person.get('name', ''):<8}{person.get('phone', ''):<18}{person.get('folder', '')}")
    lines.append("")
    if seeded.get("call_line"):
        lines.append(f"  Call somebody as alice   {seeded['call_line']}")
    if people:
        links = [person.get("link") or f"{env.public_url}/phone/?as={person.get('name')}" for person in people[:2]]
        lines.append(f"  Open two browser phones  {'   '.join(links)}")
    if env.demonstration:
        lines.append("  Play the launch of 2015  make story")
    lines.append("  Start afresh             make reset")
    lines += ["", *(f"  But {excuse}" for excuse in excuses)] if excuses else []
    return [*lines, "", "  Ctrl-C ends everything.", RULE]
