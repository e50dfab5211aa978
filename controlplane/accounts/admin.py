"""Subscribers, API keys and operators in the console. Numbers are stored sealed, and never shown."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from controlplane.accounts.models import ApiKey, Device, Subscriber
from controlplane.accounts.readonly import OnlyShown, OnlyShownInline
from controlplane.accounts.roles import Role, has_role, rights_of
from controlplane.accounts.rules.phone import parse_phone
from controlplane.audit.record import Actor, record
from controlplane.base.refusal import Refusal


class DeviceInline(OnlyShownInline):
    model = Device
    verbose_name_plural = "Devices"
    fields = ("label", "platform", "app_version", "os_version", "device_class", "seen_at", "revoked_at")
    show_change_link = False


def named_by(term: str) -> Q | None:
    """What finds the subscriber whom a search term names: by number through the keyed hash, by id, or by name."""
    term = term.strip()
    try:
        return Q(pk=UUID(term))
    except ValueError:
        pass
    try:
        number = parse_phone(term, unassigned=True)
    except Refusal:
        return Q(name__icontains=term) if term else None
    return Q(phone_hash=settings.KEYS.phone_hash(number.e164))


@admin.register(Subscriber)
class SubscriberAdmin(OnlyShown):
    list_display = ("who", "country", "carrier", "kind", "device_count", "joined_at")
    list_filter = ("kind", "country")
    search_fields = ("name",)
    search_help_text = "A whole phone number, an id, or a name"
    list_before_template = "console/lists/subscribers.html"
    change_form_outer_before_template = "console/before/subscriber.html"
    ordering = ("-joined_at",)
    inlines = (DeviceInline,)
    fields = ("id", "name", "country", "carrier", "kind", "language", "traits", "accepts_invites", "joined_at")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Subscriber], search_term: str
    ) -> tuple[QuerySet[Subscriber], bool]:
        found = named_by(search_term)
        return (queryset if found is None else queryset.filter(found)), False

    @admin.display(description="Who", ordering="name")
    def who(self, subscriber: Subscriber) -> str:
        return str(subscriber)

    @admin.display(description="Devices")
    def device_count(self, subscriber: Subscriber) -> int:
        return Device.objects.live().filter(subscriber=subscriber).count()


@admin.register(ApiKey)
class ApiKeyAdmin(OnlyShown):
    role = Role.OPERATOR
    list_display = ("name", "starts_with", "may", "created_by", "created_at", "expires_at", "revoked_at")
    list_before_template = "console/lists/keys.html"
    change_form_outer_before_template = "console/before/key.html"
    ordering = ("-id",)
    fields = ("name", "starts_with", "may", "created_by", "created_at", "expires_at", "revoked_at")

    @admin.display(description="Starts with")
    def starts_with(self, key: ApiKey) -> str:
        return f"{key.prefix}…"

    @admin.display(description="May")
    def may(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)


def changed_fields(message: Any) -> list[str]:
    """The names of the fields in what Django says of a change: `[{"changed": {"fields": [...]}}]`."""
    told = message if isinstance(message, list) else []
    return [str(name) for each in told for name in each.get("changed", {}).get("fields", [])]


class ForAdmins(ModelAdmin):
    """Operators and roles: only for admins."""

    actions = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return has_role(request.user, Role.ADMIN)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, Role.ADMIN)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return has_role(request.user, Role.ADMIN)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, Role.ADMIN)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class OperatorAdmin(ForAdmins, DjangoUserAdmin):  # type: ignore[type-arg,misc]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "roles", "is_active", "last_login")
    list_filter = ("groups", "is_active")
    add_fieldsets = DjangoUserAdmin.add_fieldsets  # Unfold's own, empty, would come first: a page without any field
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Who", {"fields": ("first_name", "last_name", "email")}),
        ("What they may do", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
    )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Whoever is added here is meant to sign in; what they may do is told by their roles."""
        obj.is_staff = obj.is_staff or not change
        super().save_model(request, obj, form, change)

    def log_addition(self, request: HttpRequest, object: User, message: Any) -> None:  # type: ignore[override]
        """Stands in our audit, as every decision does."""
        self._record("operator.created", request, object, message)

    def log_change(self, request: HttpRequest, object: User, message: Any) -> None:  # type: ignore[override]
        """As above; a new password comes by here too."""
        self._record("operator.changed", request, object, message)

    def _record(self, verb: str, request: HttpRequest, user: User, message: Any) -> None:
        detail = {
            "changed": changed_fields(message),
            "roles": sorted(user.groups.values_list("name", flat=True)),
            "active": user.is_active,
            "staff": user.is_staff,
            "superuser": user.is_superuser,
        }
        actor = Actor.operator(request.user.get_username(), rights_of(request.user))
        record(verb, subject=f"operator:{user.get_username()}", actor=actor, now=timezone.now(), detail=detail)

    @admin.display(description="Roles")
    def roles(self, user: User) -> str:
        names = list(user.groups.values_list("name", flat=True))
        return ", ".join(names) or ("all" if user.is_superuser else "none")


@admin.register(Group)
class RoleAdmin(ForAdmins, DjangoGroupAdmin):  # type: ignore[misc]
    list_display = ("name",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
