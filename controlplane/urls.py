"""The web's addresses: the console, the operators' REST, and what the edge forwards from phones."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("console/", admin.site.urls),
]
