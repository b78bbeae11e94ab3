import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "poszhub.settings")
django_application = get_wsgi_application()

# Models can be imported only now. A server that can't open what is stored must not take requests.
from poszhub.chunked import with_length  # noqa: E402
from poszhub.ready import get_ready  # noqa: E402
from poszhub.shortcut import Shortcut  # noqa: E402

get_ready()
application = with_length(Shortcut(django_application))
