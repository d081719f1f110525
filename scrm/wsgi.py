import os

from django.core.wsgi import get_wsgi_application

from scrm.counting import share_counters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scrm.settings")
share_counters(os.environ)
application = get_wsgi_application()
