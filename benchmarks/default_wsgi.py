"""Serves `benchmarks.default_inbound` as Django does by itself, without the product's short ways."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
