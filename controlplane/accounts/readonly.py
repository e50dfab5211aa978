"""The base of admin pages that only show: ledgers, people, keys. What changes them is a verb or a phone."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from controlplane.accounts.roles import Role, has_role


class OnlyShown(ModelAdmin):  # type: ignore[misc]
    """Looked at by the role and nobody less; added, changed and deleted by nobody."""

    role: ClassVar[Role] = Role.VIEWER
    list_per_page = 50
    actions = None
    show_full_result_count = False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return has_role(request.user, self.role)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, self.role)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OnlyShownInline(TabularInline):  # type: ignore[misc]
    """Rows of another table on the same page, to read."""

    extra = 0
    can_delete = False
    show_change_link = True
    tab = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, Role.VIEWER)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
