"""The hub's settings with the middleware of its pages before every view."""

from benchmarks.settings import *  # noqa: F403

MIDDLEWARE = [name for name in MIDDLEWARE if name != "poszhub.api_chain.ApiMiddleware"]  # noqa: F405
ROOT_URLCONF = "benchmarks.default_inbound"
