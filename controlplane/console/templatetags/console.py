"""Tags of the console's templates: times, tones, pictures, panels and verbs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.accounts.roles import Role, has_role
from controlplane.audit.models import AuditEntry
from controlplane.audit.rules.words import actor_words, deed_words
from controlplane.audit.verify import Verification, verify
from controlplane.console import panels
from controlplane.console.charts import spark
from controlplane.console.verbs import offered
from rollout.rules.bulk.headcount import Headcount
from rollout.rules.numbers import per_cent_words, share_words, span_words
from rollout.rules.spread.standing import TONE_WORDS, Tone

register = template.Library()
LIVE = timedelta(seconds=2)  # younger numbers were counted for this page


@register.simple_tag
def moment(at: datetime | None, empty: str = "never", *, future: bool = False) -> SafeString:
    """A time: how long ago (or ahead), and when. The browser shows the time in its own zone."""
    if at is None:
        return format_html('<span class="rc-quiet">{}</span>', empty)
    seconds = (timezone.now() - at).total_seconds()
    if seconds < 0:
        relative = f"in {span_words(seconds)}"
    else:
        relative = "just now" if seconds < 2 else f"{span_words(seconds)} ago"
    utc = at.astimezone(UTC)
    return format_html(
        '<time class="rc-time" datetime="{}" data-moment><span>{}</span> <small>{}</small></time>',
        utc.isoformat(timespec="seconds"),
        relative,
        utc.strftime("%d %b %H:%M:%S UTC"),
    )


@register.simple_tag
def tone(name: str, word: str = "") -> SafeString:
    """A pill: a sign, a word and a colour, so that the colour is never alone."""
    return format_html('<span class="rc-tone rc-tone-{}">{}</span>', name, word or TONE_WORDS[Tone(name)])


@register.filter
def deed(entry: AuditEntry) -> str:
    return deed_words(entry.verb, entry.subject)


@register.filter
def doer(entry: AuditEntry) -> str:
    return actor_words(entry.actor_kind, entry.actor)


@register.filter
def share(ppm: int) -> str:
    return share_words(ppm)


@register.filter
def thousands(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


@register.filter
def per_cent(value: float | None) -> str:
    return "–" if value is None else per_cent_words(value)


@register.inclusion_tag("console/_headcount.html")
def headcount(found: Headcount | None, *, on: bool) -> dict[str, Any]:
    """How many people have it, or would have it if it were on; of how many, and when that was counted."""
    return {"count": found, "on": on, "stored": found is not None and timezone.now() - found.at > LIVE}


@register.inclusion_tag("console/_spark.html")
def sparkline(values: Sequence[int], label: str) -> dict[str, Any]:
    return {"spark": spark(values), "label": label, "first": values[0] if values else 0, "last": values[-1]}


@register.simple_tag(takes_context=True)
def verbs(context: dict[str, Any], kind: str, thing: Any, *, small: bool = False, only: str = "") -> SafeString:
    """The buttons of what this operator may do with this thing, now; `only` names some of them."""
    request = context["request"]
    if not has_role(request.user, Role.OPERATOR):
        return SafeString("")
    chosen = [verb for verb in offered(kind, thing) if not only or verb.key in only.split()]
    after = context.get("page") or request.path
    buttons = template.loader.render_to_string(
        "console/_verbs.html", {"verbs": chosen, "kind": kind, "id": thing.pk, "small": small, "next": after}
    )
    return SafeString(buttons)


@register.simple_tag(takes_context=True)
def panel(context: dict[str, Any], kind: str, thing: Any) -> SafeString:
    """The live panel of a feature, wave, window, area or person; htmx asks for it again every few seconds."""
    return SafeString(panels.render(context["request"], kind, thing))


@register.simple_tag(takes_context=True)
def may_act(context: dict[str, Any]) -> bool:
    return has_role(context["request"].user, Role.OPERATOR)


@register.simple_tag
def audit_state() -> Verification:
    """The whole trail, walked now."""
    return verify()
