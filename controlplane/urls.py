"""The web's addresses: the console, the operators' REST, and what the edge forwards from phones."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from controlplane.api import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("console/", admin.site.urls),
]
