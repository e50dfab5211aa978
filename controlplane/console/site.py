"""The console's shell: Unfold's settings. Imported by the settings module, so it knows no model."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.functional import lazy

from controlplane.accounts.roles import Role, has_role

static_lazy = lazy(static, str)


def _may_look(request: HttpRequest) -> bool:
    return has_role(request.user, Role.VIEWER)


def _may_act(request: HttpRequest) -> bool:
    return has_role(request.user, Role.OPERATOR)


def _may_audit(request: HttpRequest) -> bool:
    return has_role(request.user, Role.AUDITOR)


def _is_admin(request: HttpRequest) -> bool:
    return has_role(request.user, Role.ADMIN)


def _page(title: str, icon: str, address: str, permission: Any = _may_look, **more: Any) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(address), "permission": permission, **more}


def environment(request: HttpRequest) -> list[str] | None:
    """The badge at the top: a demonstration must never be taken for the real thing."""
    return ["Demonstration", "warning"] if settings.ENV.demonstration else None


def is_overview(request: HttpRequest) -> bool:
    return request.path == str(reverse_lazy("console:overview"))


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Rollcall",
    "SITE_HEADER": "Rollcall",
    "SITE_SUBHEADER": "Staged rollout and invites",
    "SITE_URL": None,
    "SITE_SYMBOL": "campaign",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": static_lazy("console/favicon.svg")}],
    "LOGIN": {"form": "controlplane.console.sign_in.SignInForm"},
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "controlplane.console.site.environment",
    "BORDER_RADIUS": "6px",
    "STYLES": [lambda request: static("console/console.css")],
    "SCRIPTS": [lambda request: static("console/console.js")],
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254)",
            "100": "oklch(93.2% .032 255)",
            "200": "oklch(88% .059 254)",
            "300": "oklch(81% .1 252)",
            "400": "oklch(72% .14 254)",
            "500": "oklch(70% .14 256)",
            "600": "oklch(50% .19 260)",
            "700": "oklch(44% .18 262)",
            "800": "oklch(40% .16 263)",
            "900": "oklch(36% .13 264)",
            "950": "oklch(28% .09 266)",
        },
        "font": {
            "subtle-light": "var(--color-base-600)",
            "subtle-dark": "var(--color-base-400)",
            "default-light": "var(--color-base-700)",
            "default-dark": "var(--color-base-200)",
            "important-light": "var(--color-base-900)",
            "important-dark": "var(--color-base-100)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "",
                "items": [
                    _page("Overview", "monitoring", "console:overview", active=is_overview),
                    _page("Explain", "help", "console:explain"),
                ],
            },
            {
                "title": "Rollout",
                "items": [
                    _page("Features", "toggle_on", "admin:rollout_feature_changelist"),
                    _page("Audiences", "groups", "admin:rollout_audience_changelist"),
                    _page("Waves", "waves", "admin:rollout_wave_changelist"),
                    _page("Windows", "schedule", "admin:rollout_window_changelist"),
                    _page("Capacity", "speed", "admin:rollout_area_changelist"),
                ],
            },
            {
                "title": "People",
                "items": [
                    _page("Subscribers", "group", "admin:accounts_subscriber_changelist"),
                    _page("Grants", "verified", "admin:rollout_grant_changelist"),
                    _page("Invite tree", "account_tree", "console:tree"),
                    _page("Calls", "call", "admin:calls_callrecord_changelist"),
                ],
            },
            {
                "title": "Administration",
                "items": [
                    _page("Audit", "fact_check", "admin:audit_auditentry_changelist", _may_audit),
                    _page("Rulesets", "history", "admin:rollout_ruleset_changelist"),
                    _page("Outbox", "outbox", "admin:outbox_outbox_changelist"),
                    _page("API keys", "key", "admin:accounts_apikey_changelist", _may_act),
                    _page("Operators", "badge", "admin:auth_user_changelist", _is_admin),
                ],
            },
        ],
    },
}
