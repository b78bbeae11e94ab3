"""The hub's settings without DEBUG, under which Django keeps a record of every query."""

from poszhub.settings import *  # noqa: F403

DEBUG = False
