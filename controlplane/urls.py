"""The web's addresses: the console, the operators' REST, and what the edge forwards from phones."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from controlplane.api import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("", RedirectView.as_view(pattern_name="console:overview")),
    path("console/", include("controlplane.console.urls")),
    path("console/", admin.site.urls),
    path("api/", include("controlplane.api.operator_urls")),
    path("v1/", include("controlplane.api.phone_urls")),
]

handler400 = "controlplane.rest.problems.bad_request"
handler403 = "controlplane.rest.problems.permission_denied"
handler404 = "controlplane.rest.problems.not_found"
handler500 = "controlplane.rest.problems.server_error"
