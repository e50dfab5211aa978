"""The console's own pages. They stand before the admin's addresses, under the same prefix."""

from __future__ import annotations

from django.urls import path

from controlplane.console import people, views

app_name = "console"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("panel/<str:kind>/<int:id>/", views.panel, name="panel"),
    path("do/<str:kind>/<int:id>/<str:verb>/", views.do, name="do"),
    path("explain/", people.explain, name="explain"),
    path("tree/", people.tree, name="tree"),
    path("grant/", people.grant, name="grant"),
    path("keys/new/", people.new_key, name="new_key"),
]
