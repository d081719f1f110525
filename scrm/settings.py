"""Settings of every process, all from the environment; an empty one runs the demo and the tests.

With DEBUG on, whatever server the environment does not name is an embedded one: `manage.py` and the tests start it and
put its URL into the environment before this file is read. With DEBUG off nothing is assumed: see scrm.checks.
"""

import os
import sys
from pathlib import Path

from celery.schedules import crontab
from kombu import Queue

from scrm import env

BASE_DIR = Path(__file__).resolve().parent.parent
ENVIRON = os.environ

DEBUG = env.flag(ENVIRON, "DEBUG", default=True)
TESTING = "pytest" in sys.modules
DEVELOPMENT_SECRET_KEY = "insecure-development-key-never-used-with-debug-off"  # noqa: S105
SECRET_KEY = ENVIRON.get("SECRET_KEY") or (DEVELOPMENT_SECRET_KEY if DEBUG else "")
ALLOWED_HOSTS = env.words(ENVIRON, "ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]" if DEBUG else "")
CSRF_TRUSTED_ORIGINS = env.words(ENVIRON, "CSRF_TRUSTED_ORIGINS")
PORT = env.number(ENVIRON, "PORT", 8000)

# ---------------------------------------------------------------------------------------------------------- databases
# The placeholders let a process that asks no database (check, makemigrations, --help) run without a server.
DATABASE_URL = ENVIRON.get("DATABASE_URL") or "postgres://127.0.0.1:1/scrm"
DEPARTMENT_URLS = env.department_urls(
    ENVIRON.get("DEPARTMENT_DATABASES") or "100=postgres://127.0.0.1:1/dept_100,101=postgres://127.0.0.1:1/dept_101"
)
# Web processes keep a connection a minute (measured 18 times faster than none kept, and faster than a pool).
CONNECTION_MAX_AGE_SECONDS = env.number(ENVIRON, "CONN_MAX_AGE", 60)
CONNECT_TIMEOUT_SECONDS = env.number(ENVIRON, "CONNECT_TIMEOUT", 2)


def _database(url: str, name: str, **more: object) -> dict[str, object]:
    entry = env.database(url, name=name)
    return {
        **entry,
        "CONN_MAX_AGE": CONNECTION_MAX_AGE_SECONDS,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": False,
        "OPTIONS": {"connect_timeout": CONNECT_TIMEOUT_SECONDS, **entry["OPTIONS"]},  # type: ignore[dict-item]
        **more,
    }


# Both engines count queries for /metrics.
DATABASES = {"default": _database(DATABASE_URL, "DATABASE_URL", ENGINE="scrm.sharding.backend.control")} | {
    f"dept_{home}": _database(url, "DEPARTMENT_DATABASES", ENGINE="scrm.sharding.backend", SHARD_GROUP="departments")
    for home, url in DEPARTMENT_URLS.items()
}
DATABASE_ROUTERS = ["scrm.sharding.router.ShardedRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SHARDING_STRATEGY = ENVIRON.get("SHARDING_STRATEGY", "scrm.sharding.bucketing.StableHashStrategy")
FANOUT_CONNECTIONS = env.number(ENVIRON, "FANOUT_CONNECTIONS", 4)

# -------------------------------------------------------------------------------------------------- cache and broker
# Two servers: a cache that forgets and a broker that keeps (docs/read-through.md says why it must be so).
REDIS_URL = ENVIRON.get("REDIS_URL") or "redis://127.0.0.1:1/0"
CELERY_BROKER_URL = ENVIRON.get("CELERY_BROKER_URL") or REDIS_URL
CUSTOMER_CACHE_SECONDS = 86_400
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --------------------------------------------------------------------------------------------------------------- apps
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.import_export",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "import_export",
    "django_celery_beat",
    "django_prometheus",
    "django_structlog",
    "scrm",
    "scrm.sharding",
    "scrm.api",
    "customers",
    "profiles",
    "wxwork",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "scrm.urls"
WSGI_APPLICATION = "scrm.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "scrm" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# ------------------------------------------------------------------------------------------------- language and times
LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "scrm" / "locale"]
TIME_ZONE = ENVIRON.get("TIME_ZONE") or "Asia/Shanghai"
USE_TZ = True

# -------------------------------------------------------------------------------------------------------------- files
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if not DEBUG
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
# A batch of 1000 behaviours is well below this; scrm.api refuses larger bodies with 413 before reading them.
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
# The largest form is that of 100 rules with 20 conditions each, of six parts.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 15_000

# ----------------------------------------------------------------------------------------------------------- security
if not DEBUG:
    SECURE_SSL_REDIRECT = env.flag(ENVIRON, "SECURE_SSL_REDIRECT", default=True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = env.number(ENVIRON, "SECURE_HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    # A trial over plain http (SECURE_SSL_REDIRECT=0) must be able to log in.
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

# ---------------------------------------------------------------------------------------------------------------- api
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["scrm.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["scrm.api.parsing.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "scrm.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "SCRM for WeCom",
    "DESCRIPTION": "Customers, behaviours and profiles of a company's WeCom (企业微信).",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Swagger UI would have the schema checked by a public server.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "REDOC_DIST": "SIDECAR",
    # Several bodies and answers have it, and other things have kinds of their own: no name can be made of theirs.
    "ENUM_NAME_OVERRIDES": {"SegmentKind": ["dynamic", "static"]},
}

# --------------------------------------------------------------------------------------------------------------- jobs
CELERY_TIMEZONE = TIME_ZONE
CELERY_ENABLE_UTC = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_DB_REUSE_MAX = 1000
# A worker without -Q serves them all; `welcome` wants one of its own besides (20 s from the callback: wxwork.tasks).
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("celery", "callbacks", "welcome")]
CELERY_TASK_ROUTES = {"wxwork.work_callbacks": {"queue": "callbacks"}, "wxwork.send_welcomes": {"queue": "welcome"}}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
# In CELERY_TIMEZONE. Beat copies this into its tables at each start; the keeper catches up what was slept through.
WXWORK_RECONCILE_AT = env.time_of_day(ENVIRON, "WXWORK_RECONCILE_AT", "03:20")
CELERY_BEAT_SCHEDULE = {
    "profiles.nightly": {"task": "profiles.nightly", "schedule": crontab(hour=0, minute=0)},
    "wxwork.reconcile": {
        "task": "wxwork.reconcile",
        "schedule": crontab(hour=WXWORK_RECONCILE_AT.hour, minute=WXWORK_RECONCILE_AT.minute),
    },
}

# --------------------------------------------------------------------------------------------------------- behaviours
# Channels of the company's own beside those of profiles.vocabulary: hotline=客服热线,tmall
BEHAVIOUR_CHANNELS = env.words(ENVIRON, "BEHAVIOUR_CHANNELS")
# Kinds of identities beside those of customers.identity_kinds: taobao=淘宝昵称,card_no
IDENTITY_KINDS = env.words(ENVIRON, "IDENTITY_KINDS")

# -------------------------------------------------------------------------------------------------------------- wecom
WXWORK_CORP_ID = ENVIRON.get("WXWORK_CORP_ID", "wwsimulator" if DEBUG else "")
WXWORK_AGENT_ID = ENVIRON.get("WXWORK_AGENT_ID", "1000025" if DEBUG else "")
WXWORK_SECRET = ENVIRON.get("WXWORK_SECRET", "")
WXWORK_CONTACTS_SECRET = ENVIRON.get("WXWORK_CONTACTS_SECRET", "")
WXWORK_CALLBACK_TOKEN = env.words(ENVIRON, "WXWORK_CALLBACK_TOKEN")
WXWORK_CALLBACK_AES_KEY = env.words(ENVIRON, "WXWORK_CALLBACK_AES_KEY")
# Refuse callbacks signed longer ago than this; 0 does not look. Finished ones are kept for so many days (3 at least).
WXWORK_CALLBACK_MAX_AGE_SECONDS = env.number(ENVIRON, "WXWORK_CALLBACK_MAX_AGE_SECONDS", 0)
WXWORK_CALLBACK_KEEP_DAYS = env.number(ENVIRON, "WXWORK_CALLBACK_KEEP_DAYS", 14)
WXWORK_BASE_URL = ENVIRON.get("WXWORK_BASE_URL") or "https://qyapi.weixin.qq.com"
# Of each API, for all processes together: half of WeCom's rule of the minute, four fifths of that of the hour.
WXWORK_CALLS_PER_MINUTE = env.number(ENVIRON, "WXWORK_CALLS_PER_MINUTE", 5_000)
WXWORK_CALLS_PER_HOUR = env.number(ENVIRON, "WXWORK_CALLS_PER_HOUR", 120_000)
WXWORK_CALLS_AT_ONCE = env.number(ENVIRON, "WXWORK_CALLS_AT_ONCE", 8)
# How long an API is left alone after 45009; sixty times as long where the hour's limit was reached.
WXWORK_BLOCK_SECONDS = env.number(ENVIRON, "WXWORK_BLOCK_SECONDS", 60)
# Origins whose pages may be signed for the JSSDK: https://sidebar.example.com
WXWORK_JSSDK_ORIGINS = env.words(ENVIRON, "WXWORK_JSSDK_ORIGINS")

# ----------------------------------------------------------------------------------------------------- logs and admin
from scrm.appearance import UNFOLD  # noqa: E402, F401
from scrm.logs import LOGGING  # noqa: E402, F401

DJANGO_STRUCTLOG_CELERY_ENABLED = True
