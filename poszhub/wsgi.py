import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "poszhub.settings")
django_application = get_wsgi_application()

# Models can be imported only now. A server that can't open what is stored must not take requests.
from django.urls import get_resolver  # noqa: E402

from installs.encryption import require_right_keys  # noqa: E402
from poszhub.chunked import with_length  # noqa: E402
from poszhub.shortcut import Shortcut  # noqa: E402

require_right_keys()
application = with_length(Shortcut(django_application))

# What is loaded by now is kept for good. The collector would walk all of it every now and then, which
# stops every thread of this process for 150 ms: longer than a till may have to wait beyond its budget.
_ = get_resolver().url_patterns
gc.collect()
gc.freeze()
