"""Secrets are planted wherever the hub keeps or meets one, and then looked for wherever it says
something. A control that must be found in every one of those places keeps the search honest."""

import base64
import html
import io
import json
import logging
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from celery import current_app, signals
from django.apps import apps
from django.contrib import admin
from django.core import mail
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.settings import patched_settings

from catalog.envelope import ApiError
from catalog.models import Integration
from dispatch import router
from installs import connection, lifecycle
from installs.models import (
    AuditEntry,
    Install,
    InstallPlan,
    IntegrationSecret,
    Location,
    Merchant,
    Purpose,
    SecretState,
    User,
)
from poszhub.openapi import document
from tests.factories import (
    VERIFY,
    make_install,
    make_integration,
    make_key_partner,
    make_location,
    make_merchant,
    make_order,
    make_token,
    make_user,
    owner_of,
)
from tests.partners import Reply, Request, running_partner
from webhooks import outbound

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("patient_till"),
]

CONTROL = "control-7f3a9e"
# A text that every encoding changes: quotes, slashes, a sign of URLs, a letter beyond ASCII.
ODD = '/+"<&=é'


def canary(name: str) -> str:
    return f"{name}{ODD}{secrets.token_hex(8)}"


# The search


def encodings(secret: str) -> dict[str, list[str]]:
    raw = secret.encode()
    return {
        "plain": [secret],
        "base64": [
            core
            for encode in (base64.b64encode, base64.urlsafe_b64encode)
            for core in _cores(raw, encode)
        ],
        "hex": [raw.hex(), raw.hex().upper()],
        "url": [quote(secret, safe=""), quote(secret), quote(secret, safe="").lower()],
        "json": [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]],
        "html": [html.escape(secret)],
    }


def _cores(raw: bytes, encode: Any) -> list[str]:
    """What of the base64 is the same wherever in a longer text the secret stands."""
    found = []
    for shift in range(3):
        whole = encode(b"\0" * shift + raw).decode()
        # A group of four characters also holds bytes of its neighbours where it is not full.
        end = len(whole) - (4 if (shift + len(raw)) % 3 else 0)
        found.append(whole[4 if shift else 0 : end])
    return found


def found_in(text: str, secret: str) -> list[str]:
    return [
        name for name, forms in encodings(secret).items() if any(form in text for form in forms)
    ]


@pytest.mark.parametrize(
    ("encoding", "wrap"),
    [
        ("plain", lambda text: text),
        ("base64", lambda text: base64.b64encode(f"user:{text}".encode()).decode()),
        ("base64", lambda text: base64.urlsafe_b64encode(f"x{text}yz".encode()).decode()),
        ("hex", lambda text: f"ab{text}".encode().hex()),
        ("url", lambda text: quote(f"a&{text}", safe="")),
        ("json", lambda text: json.dumps({"a": text})),
        ("html", lambda text: html.escape(text)),
    ],
)
def test_search_finds_a_secret_in_every_encoding(encoding, wrap):
    secret = canary("found")

    assert encoding in found_in(f"before {wrap(secret)} after", secret)


# The world


@dataclass
class World:
    merchant: Merchant
    location: Location
    owner: User
    partner: Integration
    install: Install
    token: str
    client: Client
    staff: Client
    secrets: dict[str, str] = field(default_factory=dict)


class Tasks:
    """Everything that goes to the queue, as it goes."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def note(self, body: Any = None, headers: Any = None, **_rest: Any) -> None:
        self.messages.append(f"{body!r} {headers!r}")


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    noted = Tasks()
    signals.before_task_publish.connect(noted.note, weak=False, dispatch_uid="canary")
    yield noted
    signals.before_task_publish.disconnect(dispatch_uid="canary")


@pytest.fixture
def talkative(settings):
    """A partner that repeats every header it is sent, as careless ones do."""
    wrong: list[str] = []

    def answer(request: Request) -> Reply:
        echo = json.dumps(request.headers).encode()
        given = request.headers.get("Authorization", "").encode("latin-1")
        if any(key.encode("latin-1") in given for key in wrong):
            return Reply(401, echo)
        return Reply(200 if request.path.endswith("/verify") else 500, echo)

    with running_partner(settings, answer) as running:
        running.wrong = wrong
        yield running


@pytest.fixture
def world(settings, talkative) -> World:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    password = canary("password")
    merchant = make_merchant(name=f"Maple {CONTROL}")
    location = make_location(merchant, name=f"Ubud {CONTROL}")
    owner = make_user(merchant, email=f"{CONTROL}@example.id")
    owner.set_password(password)
    owner.save(update_fields=["password"])
    partner = make_key_partner(
        talkative.url,
        slug=CONTROL,
        outbound_events=["order.paid"],
        outbound_url=f"{talkative.url}/events",
        capabilities={"receipt_qr": 1, "receipt_pretext": 1},
        verification_request=VERIFY,
    )
    client, staff = Client(raise_request_exception=False), Client(raise_request_exception=False)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    superuser = User.objects.create_superuser("staff@posz.id")
    staff.force_login(superuser, backend="django.contrib.auth.backends.ModelBackend")
    planted = {
        "install secret": canary("api"),
        "left-over secret": canary("left"),
        "plan secret": canary("plan"),
        "refused key": canary("refused"),
        "password": password,
        "session": str(client.session.session_key),
        "staff session": str(staff.session.session_key),
        "API token": make_token(merchant),
        "SECRET_KEY": settings.SECRET_KEY,
        "FIELD_ENCRYPTION_KEY": settings.FIELD_ENCRYPTION_KEY[0],
    }
    talkative.wrong.append(planted["refused key"])
    install = lifecycle.install(
        owner_of(merchant), partner, config={"api_key": planted["install secret"]}
    )
    lifecycle.configure(owner_of(merchant), install.pk, {"greeting": "Hai"})
    install.refresh_from_db()
    install.config = {**install.config, "left_over": planted["left-over secret"]}
    install.save(update_fields=["config"])
    planted |= plant_keys(partner) | plant_factors(owner)
    plant_plan(merchant, talkative, planted)
    return World(
        merchant, location, owner, partner, install, planted["API token"], client, staff, planted
    )


def plant_keys(partner: Integration) -> dict[str, str]:
    planted = {}
    rows = [
        *((purpose, SecretState.CURRENT) for purpose in Purpose),
        (Purpose.OUTBOUND, SecretState.NEXT),
        (Purpose.INBOUND, SecretState.PREVIOUS),
    ]
    for purpose, state in rows:
        value = secrets.token_hex(32)
        IntegrationSecret.objects.create(
            integration=partner,
            purpose=purpose,
            state=state,
            value=value,
            activated_at=timezone.now(),
        )
        planted[f"{purpose} {state}"] = value
        # The key itself is these bytes; a text of them would be a leak as well.
        planted[f"{purpose} {state} as bytes"] = bytes.fromhex(value).decode("latin-1")
    return planted


def plant_factors(owner: User) -> dict[str, str]:
    seed = base64.b32encode(secrets.token_bytes(20)).decode()
    TOTP.activate(owner, seed)
    codes = RecoveryCodes.activate(owner)
    return {
        "TOTP secret": seed,
        "recovery seed": str(get_adapter().decrypt(codes.instance.data["seed"])),
        "recovery code": codes.get_unused_codes()[0],
    }


def plant_plan(merchant: Merchant, talkative: Any, planted: dict[str, str]) -> None:
    """A change that waits for somebody to carry it out: its settings are in the plan."""
    rival = make_key_partner(talkative.url, slug=f"{CONTROL}-rival")
    with pytest.raises(ApiError):
        lifecycle.install(owner_of(merchant), rival, config={"api_key": planted["plan secret"]})


# The places where it is looked for


def pages(world: World) -> str:
    paths = ["/integrations", "/activity", "/till", "/accounts/2fa/", "/accounts/password/change/"]
    return texts(world.client.get(path) for path in paths)


def drawer(world: World) -> str:
    url = f"/integrations/{CONTROL}"
    configure = f"{url}/installs/{world.install.pk}/configure"
    refused = {"config-api_key": world.secrets["refused key"], "config-greeting": "Hai"}
    partial = {"HX-Request": "true"}
    return texts(
        [
            world.client.get(url),
            world.client.get(url, headers=partial),
            world.client.post(configure, refused),
            world.client.post(f"{url}/install", {"location": str(world.location.pk), **refused}),
            world.client.post(configure, refused, headers=partial),
            world.client.post(f"{url}/installs/{world.install.pk}/test", headers=partial),
        ]
    )


def till(world: World) -> str:
    data = {"outlet": str(world.location.pk), "sample": "lunch", "paper": "58"}
    return texts([world.client.post("/till", data)])


def admin_lists(world: World) -> str:
    names = [
        f"admin:{m._meta.app_label}_{m._meta.model_name}_changelist" for m in admin.site._registry
    ]
    return texts(world.staff.get(reverse(name)) for name in names)


def admin_pages(world: World) -> str:
    urls = [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=[row.pk])
        for model in admin.site._registry
        for row in model._default_manager.all()
        for page in ("change", "history", "delete")
    ]
    return texts(world.staff.get(url) for url in urls)


def api(world: World, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {world.token}"}
    return world.client.generic(
        method,
        path,
        json.dumps(body) if body is not None else "",
        "application/json",
        headers=headers,
    )


def api_answers(world: World) -> str:
    order = {"location_id": str(world.location.pk), "data": {"order": make_order("o-2")}}
    return texts(
        [
            *(
                api(world, "GET", path)
                for path in (
                    "/v1/installs",
                    "/v1/integrations",
                    "/v1/deliveries",
                    "/v1/capabilities",
                )
            ),
            api(world, "GET", f"/v1/installs/{world.install.pk}"),
            api(world, "GET", f"/v1/integrations/{CONTROL}"),
            api(world, "POST", f"/v1/installs/{world.install.pk}/test"),
            api(world, "POST", "/v1/dispatch/receipt_qr", order),
        ]
    )


def error_envelopes(world: World) -> str:
    install = f"/v1/installs/{world.install.pk}"
    refused = world.secrets["refused key"]
    answers = [
        api(world, "PATCH", install, {"config": {"api_key": refused, CONTROL: refused}}),
        api(world, "PATCH", install, {"config": {"api_key": refused}}),
        api(world, "PATCH", install, {"config": {"greeting": [refused], CONTROL: 1}}),
        api(
            world, "POST", "/v1/installs", {"integration": CONTROL, "config": {"api_key": refused}}
        ),
        api(world, "POST", "/v1/installs", {"integration": {"api_key": refused}}),
        api(world, "GET", f"/v1/{CONTROL}"),
        world.client.get("/v1/installs", headers={"Authorization": f"Bearer {world.token}x"}),
    ]
    assert min(answer.status_code for answer in answers) >= 400
    return texts(answers)


def failure_pages(world: World) -> str:
    schema = world.partner.config_schema
    Integration.objects.filter(pk=world.partner.pk).update(config_schema={"properties": 5})
    try:
        broken = world.client.get(f"/integrations/{CONTROL}")
    finally:
        Integration.objects.filter(pk=world.partner.pk).update(config_schema=schema)
    missing = world.client.get("/nothing-here")
    forged = Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "x"})
    assert [broken.status_code, missing.status_code, forged.status_code] == [500, 404, 403]
    return texts([broken, missing, forged])


def dump(_world: World) -> str:
    # Django's own table of sessions holds their keys, as it must: whoever dumps it takes them along.
    output = io.StringIO()
    call_command("dumpdata", exclude=["sessions"], stdout=output)
    return output.getvalue()


def audit_entries(_world: World) -> str:
    return repr(list(AuditEntry.objects.values()))


def mails(world: World) -> str:
    Client().post("/accounts/password/reset/", {"email": world.owner.email})
    return "".join(str(message.message()) for message in mail.outbox)


def openapi(world: World) -> str:
    with patched_settings({"DESCRIPTION": CONTROL}):
        document.cache_clear()
        text = texts([world.client.get("/v1/openapi.yaml")])
    document.cache_clear()
    return text


def representations(_world: World) -> str:
    rows = (
        row
        for model in apps.get_models()
        if model._meta.label != "sessions.Session"
        for row in model._default_manager.all()
    )
    return "".join(f"{row!r} {row!s}\n" for row in rows)


def texts(responses: Iterable[Any]) -> str:
    return "\n".join(
        b"".join(response.streaming_content).decode()
        if response.streaming
        else response.content.decode()
        for response in responses
    )


SINKS = {
    "merchant pages": pages,
    "drawer": drawer,
    "till": till,
    "admin lists": admin_lists,
    "admin pages": admin_pages,
    "API answers": api_answers,
    "error envelopes": error_envelopes,
    "failure pages": failure_pages,
    "dumpdata": dump,
    "audit log": audit_entries,
    "mails": mails,
    "OpenAPI": openapi,
    "repr and str": representations,
}


def work(world: World) -> None:
    """What the hub does with the secrets all day."""
    connection.test(owner_of(world.merchant), world.install.pk)
    router.dispatch(
        world.merchant.pk, world.location.pk, "receipt_pretext", {"order": make_order()}
    )
    outbound.accept_event(
        outbound.NewEvent("order.paid", world.merchant.pk, None, None, None, {"order_id": "o"})
    )
    outbound.deliver_due()
    make_install(world.merchant, make_integration(f"{CONTROL}-b"), world.location.pk)
    current_app.send_task("webhooks.tasks.deliver_due", ignore_result=True, headers={"x": CONTROL})


def test_no_secret_is_found_in_any_sink(world, tasks, caplog):
    router.forget_partners()
    caplog.set_level(logging.DEBUG)
    work(world)

    said = {name: sink(world) for name, sink in SINKS.items()}
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    said["log"] = "\n".join(formatter.format(record) for record in caplog.records)
    said["tasks"] = "\n".join(tasks.messages)

    assert (
        InstallPlan.objects.get(used_at=None).payload["config"]["api_key"]
        == world.secrets["plan secret"]
    )
    hits = [
        (sink, name, encoding)
        for sink, text in said.items()
        for name, secret in world.secrets.items()
        for encoding in found_in(text, secret)
    ]
    assert hits == []
    assert [sink for sink, text in said.items() if not found_in(text, CONTROL)] == []
    assert (len(world.secrets) >= 12, len(said) >= 12) == (True, True)
