"""The operators' addresses, below /api/."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from controlplane.api import audit, calls, deployment, explain, keys, outbox, overview, subscribers
from rollout.api import areas, audiences, definitions, features, grants, invite_tree, previews, rulesets, waves, windows

urlpatterns = [
    path("deployment", deployment.DeploymentView.as_view()),
    path("overview", overview.OverviewView.as_view()),
    path("explain", explain.ExplainView.as_view()),
    path("features", features.FeaturesView.as_view()),
    path("features/<str:key>", features.FeatureView.as_view()),
    path("features/<str:key>/on", features.OnView.as_view()),
    path("features/<str:key>/off", features.OffView.as_view()),
    path("features/<str:key>/kill", features.KillView.as_view()),
    path("features/<str:key>/unkill", features.UnkillView.as_view()),
    path("features/<str:key>/launch", features.LaunchView.as_view()),
    path("features/<str:key>/access", features.AccessView.as_view()),
    path("features/<str:key>/invite-tree", invite_tree.InviteTreeView.as_view()),
    path("features/<str:key>/preview", previews.FeaturePreviewView.as_view()),
    path("audiences", audiences.AudiencesView.as_view()),
    path("audiences/<str:key>", audiences.AudienceView.as_view()),
    path("audiences/<str:key>/preview", previews.AudiencePreviewView.as_view()),
    path("preview", previews.DocumentPreviewView.as_view()),
    path("export", definitions.ExportView.as_view()),
    path("import", definitions.ImportView.as_view()),
    path("rulesets", rulesets.RulesetsView.as_view()),
    path("rulesets/<int:version>", rulesets.RulesetView.as_view()),
    path("rulesets/<int:a>/diff/<int:b>", rulesets.DiffView.as_view()),
    path("rulesets/<int:version>/restore", rulesets.RestoreView.as_view()),
    path("windows", windows.WindowsView.as_view()),
    path("windows/<int:id>", windows.WindowView.as_view()),
    path("windows/<int:id>/open", windows.OpenWindowView.as_view()),
    path("windows/<int:id>/close", windows.CloseWindowView.as_view()),
    path("waves", waves.WavesView.as_view()),
    path("waves/<int:id>", waves.WaveView.as_view()),
    path("waves/<int:id>/open", waves.OpenWaveView.as_view()),
    path("waves/<int:id>/hold", waves.HoldWaveView.as_view()),
    path("waves/<int:id>/resume", waves.ResumeWaveView.as_view()),
    path("areas", areas.AreasView.as_view()),
    path("areas/<str:key>", areas.AreaView.as_view()),
    path("areas/<str:key>/decisions", areas.DecisionsView.as_view()),
    path("areas/<str:key>/measurements", areas.MeasurementsView.as_view()),
    path("grants", grants.GrantsView.as_view()),
    path("grants/<int:id>/revoke", grants.RevokeGrantView.as_view()),
    path("grants/<int:id>/freeze", grants.FreezeGrantView.as_view()),
    path("grants/<int:id>/thaw", grants.ThawGrantView.as_view()),
    path("subscribers", subscribers.SubscribersView.as_view()),
    path("subscribers/<str:named>", subscribers.SubscriberView.as_view()),
    path("subscribers/<str:named>/recycle", subscribers.RecycleView.as_view()),
    path("subscribers/<str:named>/devices/<uuid:device>/revoke", subscribers.RevokeDeviceView.as_view()),
    path("calls/<uuid:id>", calls.CallView.as_view()),
    path("keys", keys.KeysView.as_view()),
    path("keys/<int:id>/revoke", keys.RevokeKeyView.as_view()),
    path("audit", audit.AuditView.as_view()),
    path("audit/verify", audit.VerifyAuditView.as_view()),
    path("outbox", outbox.OutboxView.as_view()),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
]
