"""Django's settings, built from `controlplane.base.env`: nothing else reads the environment."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from controlplane.base import env, locations
from controlplane.base.keys import Keys
from controlplane.console.site import UNFOLD  # noqa: F401 (a setting of the console's shell)

ENV = env.load()
KEYS = Keys(ENV.secret)

SECRET_KEY = KEYS.django_secret
DEBUG = ENV.debug
ALLOWED_HOSTS = list(ENV.allowed_hosts)
ROOT_URLCONF = "controlplane.urls"
WSGI_APPLICATION = "controlplane.wsgi.application"

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "controlplane.audit",
    "controlplane.outbox",
    "controlplane.accounts",
    "controlplane.console",
    "controlplane.rest",
    "controlplane",
    "rollout",
    "calls",
]

MIDDLEWARE = [
    "controlplane.rest.this_machine.OnlyThisMachine",
    "django.middleware.security.SecurityMiddleware",
    "controlplane.console.policy.ContentPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "controlplane.console.sessions.SessionsEnd",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "controlplane.api.published.PublishedNumber",
    "controlplane.rest.idempotency.IdempotencyKeys",
]
# Bytes of a body that is kept in memory; controlplane/rest/parsing.py allows less almost everywhere.
DATA_UPLOAD_MAX_MEMORY_SIZE = 9 * 1024 * 1024

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [env.ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def database(url: str) -> dict[str, Any]:
    """Django's connection settings for a postgresql:// URL; a socket folder may stand in `?host=`."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise env.BadSetting("DATABASE_URL must start with postgresql://, as in postgresql://user:password@host/name.")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "controlplane.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or parts.hostname or "",
        "PORT": str(parts.port or options.pop("port", "")),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        # A database that is away, or half gone, must show within two seconds (tcp_user_timeout counts milliseconds).
        "OPTIONS": {"connect_timeout": 2, "tcp_user_timeout": 2000, **options},
    }


DATABASE_URL = ENV.database_url or locations.database_url(ENV)
REDIS_URL = ENV.redis_url or locations.redis_url(ENV)
DATABASES = {"default": database(DATABASE_URL)}
OWNER_URL = locations.owner_url(ENV)
OWNER_DATABASE = database(OWNER_URL) if OWNER_URL else None  # what `migrate` uses
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
SESSION_COOKIE_HTTPONLY = True  # how long a session lasts: controlplane/console/sessions.py
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
HTTPS = ENV.public_url.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_SSL_REDIRECT = HTTPS
# What the supervisor, the edge and Prometheus ask over plain HTTP on the inside.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$", r"^v1/"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
# Whether other names below the domain are served over TLS only is their owner's promise, not ours.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = ["controlplane.console.formats"]
STATIC_URL = "/static/"
STATIC_ROOT = None
# The web process serves the console's own files itself, straight from the packages: nothing has to be collected.
WHITENOISE_USE_FINDERS = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["controlplane.rest.authentication.OperatorKey"],
    "DEFAULT_PERMISSION_CLASSES": ["controlplane.rest.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["controlplane.rest.parsing.BoundedJSON"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "controlplane.rest.problems.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Rollcall",
    "DESCRIPTION": "Staged rollout and invites for calling: the operators' and backends' interface.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": [],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False, "displayRequestDuration": True},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "controlplane.rest.schema.with_problems",
        "controlplane.api.document.finished",
        "controlplane.api.edge_document.with_edge",
    ],
    "ENUM_NAME_OVERRIDES": {
        "WaveStateEnum": "rollout.models.labels.WAVE_STATE",
        "WindowStateEnum": "rollout.models.labels.WINDOW_STATE",
        "AreaStateEnum": "rollout.models.labels.AREA_STATE",
        "GrantStateEnum": "rollout.models.labels.GRANT_STATE",
        "FeatureKindEnum": "rollout.models.labels.FEATURE_KIND",
        "SubscriberKindEnum": "controlplane.accounts.models.SUBSCRIBER_KIND",
    },
    "SCHEMA_PATH_PREFIX": "/(api|v1)/",
    "COMPONENT_SPLIT_REQUEST": True,
}

# Celery: see controlplane/celery.py. Tasks are safe to repeat, so a message is acknowledged when its task is done.
CELERY_BROKER_URL = locations.broker_url(REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 300, "socket_timeout": 5, "socket_connect_timeout": 2}
CELERY_TASK_DEFAULT_QUEUE = "bulk"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_PUBLISH_RETRY = False  # a nudge that can't be sent is left out: the sweeper finds the row
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = (
    {
        # A message that waited longer than its own interval is worth nothing: it expires.
        f"heartbeat of {queue}": {
            "task": "controlplane.heartbeat",
            "schedule": 5.0,
            "args": [queue],
            "options": {"queue": queue, "expires": 10},
        }
        for queue in ("ticks", "bulk")
    }
    | {
        name: {"task": task, "schedule": seconds, "options": {"queue": "ticks", "expires": max(2.0, seconds)}}
        for name, task, seconds in (
            ("deliver the outbox", "outbox.deliver", 0.5),
            ("seal the audit", "audit.seal", 1.0),
            ("sign the audit's head", "audit.sign_head", 60.0),
            ("capacity, closing times, overdue reservations", "rollout.tasks.tick", 1.0),
        )
    }
    | {
        "forget what was kept long enough": {
            "task": "controlplane.forget_old",
            "schedule": 900.0,
            "options": {"queue": "bulk", "expires": 900.0},
        },
        "count who has what": {
            "task": "rollout.tasks.refresh_headcounts",
            "schedule": 5.0,
            "options": {"queue": "bulk", "expires": 5.0},
        },
    }
)
# Who takes which kind of effect (controlplane/outbox/actions.py); a kind without a line waits and is counted.
OUTBOX_HANDLERS = {
    "grant.created": ["calls.tasks.deliver_grants"],
    "grants.created": ["calls.tasks.deliver_grants"],
    "grant.revoked": ["calls.tasks.deliver_changes"],
    "grant.frozen": ["calls.tasks.deliver_changes"],
    "grant.thawed": ["calls.tasks.deliver_changes"],
    "device.revoked": ["calls.tasks.deliver_device_revocations"],
    "window.closed": ["rollout.tasks.deliver_window_reports"],
}

# How one-time codes reach phones: a class with `send(e164, code)` (controlplane/accounts/senders.py).
CODE_SENDER = ENV.code_sender

LOGGING_CONFIG = None
