import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "poszhub.settings")
django_application = get_wsgi_application()

# Models can be imported only now. A server that can't open what is stored must not take requests.
from installs.encryption import require_right_keys  # noqa: E402
from poszhub.chunked import with_length  # noqa: E402
from poszhub.shortcut import Shortcut  # noqa: E402

require_right_keys()
application = with_length(Shortcut(django_application))
