import json
import logging
import logging.config
import subprocess
import sys
from io import StringIO

import pytest
from django.conf import settings as hub
from django.http import HttpResponse
from django.test import Client, RequestFactory

from poszhub import logs
from poszhub.celery import app
from tests import stack

SECRET = "planted-secret-5f1c"


@pytest.fixture
def lines():
    """What is logged, as the hub would write it with LOG_FORMAT=json."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JSONLine())
    root = logging.getLogger()
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)


def log(message="Attempt failed", **extra):
    logging.getLogger("webhooks.outbound").warning(message, extra=extra)


def test_line_is_one_object_with_the_ids(lines):
    ids = {
        "event_id": "e",
        "delivery_id": "d",
        "attempt": 2,
        "integration": "i",
        "merchant_id": "m",
    }

    log("Attempt\nfailed", **ids)

    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "webhooks.outbound",
        "message": "Attempt\nfailed",
        **ids,
    }


def test_line_leaves_out_what_is_no_id(lines):
    log(headers={"Authorization": SECRET}, body=SECRET, request=SECRET, delivery_id="d")
    logging.getLogger("webhooks").warning({"body": SECRET})

    first, second = lines()
    assert (first["delivery_id"], first["message"]) == ("d", "Attempt failed")
    assert "body" not in second
    assert SECRET not in json.dumps(first)


def test_line_holds_the_exception(lines):
    try:
        raise ValueError("wrong")
    except ValueError:
        logging.getLogger("webhooks").exception("It broke")

    assert lines()[0]["exception"].endswith("ValueError: wrong")


def test_lines_of_a_request_carry_its_id_and_nothing_else_of_it(lines):
    def view(request):
        log("Seen")
        return HttpResponse(status=500)

    reply = logs.RequestIdMiddleware(view)(
        RequestFactory().post(
            f"/v1/events?token={SECRET}",
            {"api_key": SECRET},
            headers={"X-Request-Id": "till-7.order:41", "Authorization": f"Bearer {SECRET}"},
        )
    )
    log("Later")

    during, later = lines()
    assert reply["X-Request-Id"] == during["request_id"] == "till-7.order:41"
    assert "request_id" not in later
    assert SECRET not in json.dumps(during)


@pytest.mark.parametrize(
    "given", ["", "short", "x" * 65, "a b c d e", "id-with-\n-line", "né-né-né"]
)
def test_id_that_is_not_sane_is_replaced(given):
    reply = Client().get("/nowhere", HTTP_X_REQUEST_ID=given)

    assert logs.SANE_ID.fullmatch(reply["X-Request-Id"])
    assert reply["X-Request-Id"] != given


def test_ids_differ_and_end_with_their_request():
    ids = {Client().get("/nowhere")["X-Request-Id"] for _ in range(3)}

    assert len(ids) == 3
    assert logs.request_id.get() is None


def test_line_of_a_task_carries_its_id(lines):
    @app.task(name="tests.logging")
    def task():
        log()

    task.apply(task_id="task-1")
    log()

    assert [line.get("task_id") for line in lines() if line["logger"] == "webhooks.outbound"] == [
        "task-1",
        None,
    ]


def test_worker_logs_at_the_level_and_in_the_format_of_the_settings(tmp_path):
    program = (
        "import logging; from poszhub.celery import app;"
        "app.log.setup(loglevel='WARNING');"
        "logging.getLogger('webhooks').info('hello')"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=hub.BASE_DIR,
        env=stack.hub_env(tmp_path, LOG_FORMAT="json", LOG_LEVEL="INFO"),
        capture_output=True,
        text=True,
        check=True,
    )

    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["hello"]


def test_unknown_format_stops_the_start(tmp_path):
    with pytest.raises(AssertionError, match="LOG_FORMAT is plain or json"):
        stack.manage(stack.hub_env(tmp_path, LOG_FORMAT="xml"), "check")
