"""The phones' addresses on the web, below /v1/. The edge forwards them."""

from __future__ import annotations

from django.urls import path

from controlplane.api import phone_devices, phones

urlpatterns = [
    path("registration", phones.RegistrationView.as_view()),
    path("registration/verify", phones.VerifyView.as_view()),
    path("tokens/refresh", phones.RefreshView.as_view()),
    path("tokens/revoke", phones.RevokeView.as_view()),
    path("device-list", phones.DeviceListView.as_view()),
    path("me", phones.MeView.as_view()),
    path("me/device", phone_devices.MyDeviceView.as_view()),
    path("me/devices", phone_devices.MyDevicesView.as_view()),
    path("me/devices/<uuid:device>", phone_devices.OneOfMyDevicesView.as_view()),
    path("me/blocks/<uuid:subscriber>", phones.BlockView.as_view()),
]
