"""What every process of the hub does before it takes work."""

import gc

from django.urls import get_resolver

from installs.encryption import require_right_keys


def get_ready() -> None:
    """Load the code, refuse to start with wrong keys, and leave what is loaded to no collector.

    The collector would walk all of it every now and then, which stops every thread of the process for
    130 to 180 ms: longer than a till may have to wait beyond its budget.
    """
    require_right_keys()
    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()
