"""The product's settings for a web process under measurement: DEBUG off in Django, a constant view to compare with."""

from scrm.settings import *  # noqa: F403

DEBUG = False
ALLOWED_HOSTS = ["*"]
SECURE_SSL_REDIRECT = False
ROOT_URLCONF = "benchmarks.urls"
