"""The console's sign-in: attempts are limited, and what came of each stands in the audit."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from unfold.forms import AuthenticationForm

from controlplane.accounts.actions.sign_in import attempt, refused, signed_in
from controlplane.base.refusal import TooMany
from controlplane.console.sessions import begin
from controlplane.rest.authentication import client_address


class SignInForm(AuthenticationForm):
    def clean(self) -> Any:
        """Raises ValidationError for a wrong password, and whatever the password after too many attempts."""
        now, address = timezone.now(), client_address(self.request)
        username = str(self.cleaned_data.get("username") or "")
        if not username or not self.cleaned_data.get("password"):
            return super().clean()
        try:
            attempt(username, address, now=now)
        except TooMany as refusal:
            raise ValidationError(refusal.detail) from refusal
        try:
            found = super().clean()
        except ValidationError:
            refused(username, address, now=now)
            raise
        signed_in(self.get_user(), address, now=now)
        begin(self.request.session, now)
        return found
