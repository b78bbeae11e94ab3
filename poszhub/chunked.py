"""Bodies that come in chunks, for everything behind: Django and DRF read by `Content-Length` alone, so
that to them such a body is empty.
"""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, NoReturn

from catalog.envelope import MAX_BODY_BYTES

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class UnreadableInput:
    """Stands for a body that broke off; whoever reads it learns so in Django's own words."""

    def read(self, *_args: Any) -> NoReturn:
        raise OSError("the chunks of the body can not be read")

    readline = read


def with_length(application: Application) -> Application:
    """Gives a chunked body its length, as a proxy would that buffers it.

    Of one that is too long no more is read than what shows that it is.
    """

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        is_chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        if is_chunked and environ.get("wsgi.input_terminated"):
            _read_whole(environ)
        return application(environ, start_response)

    return answer


def _read_whole(environ: dict[str, Any]) -> None:
    try:
        body = environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
    except Exception:  # noqa: BLE001 (every server has errors of its own for it)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = UnreadableInput(), "1"
    else:
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
