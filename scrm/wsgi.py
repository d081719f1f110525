import os

from django.core.wsgi import get_wsgi_application

from scrm.counting import share_counters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scrm.settings")
share_counters(os.environ)
django_application = get_wsgi_application()

from customers.front import LookupFront  # noqa: E402 - needs Django set up

application = LookupFront(django_application)
