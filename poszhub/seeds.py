"""Catalog rows that ship with the product, and the demo world of a first try."""

import uuid
from secrets import token_urlsafe
from typing import Any

from django.conf import settings
from django.db import transaction

from catalog.models import AuthShape, Integration, IntegrationStatus
from dispatch.sandbox.oauth import CLIENT_ID, SCOPES
from installs.credentials import client_secret, ensure_secrets, set_client_secret
from installs.models import ApiToken, Location, Membership, Merchant, Role, User

DOMAIN_EVENTS = ["order.paid", "refund.created", "settings.changed"]
DEMO = uuid.UUID("5f0a3c52-9d0e-4c8e-9b6d-0d6b0f4a2a10")

SPLITEASY = {
    "category_id": "receipt",
    "status": IntegrationStatus.AVAILABLE,
    "name_en": "SplitEasy",
    "name_id": "SplitEasy",
    "tagline_en": "Guests scan the receipt and split the bill themselves",
    "tagline_id": "Tamu memindai struk dan membagi tagihan sendiri",
    "description_en": (
        "Every receipt gets a QR code. Guests scan it, choose who had what, and each pays their "
        "share from their own phone. No app, no account, and nothing to set up: install it and the "
        "next receipt carries the code. When a table has settled, you see it in your activity log."
    ),
    "description_id": (
        "Setiap struk mendapat kode QR. Tamu memindainya, memilih siapa memesan apa, lalu masing-"
        "masing membayar bagiannya dari ponsel sendiri. Tanpa aplikasi, tanpa akun, tanpa pengaturan: "
        "pasang, dan struk berikutnya sudah membawa kodenya. Saat satu meja lunas, Anda melihatnya di "
        "catatan aktivitas."
    ),
    "logo": "logos/spliteasy.svg",
    "auth_shape": AuthShape.PLATFORM_SHARED,
    "capabilities": {"receipt_qr": 1, "payment_webhook_inbound": 1},
    "api_base_url": "https://api.spliteasy.uncle-z.com",
    "landing_base_url": "https://s.uncle-z.com/b",
    "outbound_events": DOMAIN_EVENTS,
    "outbound_url": "https://api.spliteasy.uncle-z.com/v1/external/events",
    "inbound_events": {
        "bill.settled": "payment_webhook_inbound",
        "bill.expired": "payment_webhook_inbound",
        "bill.cancelled": "payment_webhook_inbound",
    },
    "data_residency": "id",
    "website_url": "https://s.uncle-z.com",
    "support_email": "posz@uncle-z.com",
}

DEMO_QR = {
    "demo-qr-a": ("Review Corner", "Pojok Ulasan", "Rate your visit", "Nilai kunjungan Anda"),
    "demo-qr-b": ("Stamp Card", "Kartu Stempel", "Collect your stamp", "Ambil stempel Anda"),
    "demo-qr-c": ("Tip Jar", "Kotak Tip", "Tip the team", "Beri tip untuk tim"),
    "demo-qr-d": ("Lucky Draw", "Undian Meja", "Win your next coffee", "Menangkan kopi berikutnya"),
}

MERCHANTS: list[dict[str, Any]] = [
    {
        "name": "Maple & Oat",
        "email": "hello@mapleandoat.id",
        "phone": "+622150001234",
        "city": "Jakarta",
        "locations": [
            ("Senopati", "Jakarta", "Jl. Senopati 41", "Asia/Jakarta", 500),
            ("Ubud", "Bali", "Jl. Raya Ubud 8", "Asia/Makassar", 1000),
            ("Bandung", "Bandung", "Jl. Braga 12", "Asia/Jakarta", 500),
        ],
        "people": [
            ("owner@mapleandoat.id", "Ayu Lestari", Role.OWNER),
            ("manager@mapleandoat.id", "Bima Putra", Role.MANAGER),
            ("viewer@mapleandoat.id", "Citra Dewi", Role.VIEWER),
        ],
    },
    {
        "name": "Warung Bu Sari",
        "email": "halo@warungbusari.id",
        "phone": "",
        "city": "Yogyakarta",
        "locations": [("Prawirotaman", "Yogyakarta", "Jl. Prawirotaman 5", "Asia/Jakarta", 0)],
        "people": [
            ("owner@warungbusari.id", "Sari Wulandari", Role.OWNER),
            ("owner@mapleandoat.id", "Ayu Lestari", Role.OWNER),
        ],
    },
]
PASSWORD = "maple-oat-demo-2026"  # noqa: S105 - the demo world's, printed at every start
STAFF = "staff@posz.id"


def seed_catalog() -> Integration:
    """Make the rows that ship with working code where they are missing; staff own them after."""
    row, is_new = Integration.objects.get_or_create(slug="spliteasy", defaults=SPLITEASY)
    if is_new:
        row.full_clean()
    return row


@transaction.atomic
def seed_demo(tokens: dict[str, str]) -> dict[str, Any]:
    """Build the demo world, or find it as it is; return what a newcomer needs to use it.

    `tokens` maps token names to their clear values, so that a second run names the same ones.
    """
    integrations = [_at_sandbox(seed_catalog(), "events/spliteasy"), *_demo_partners()]
    merchants = [_merchant(index, row) for index, row in enumerate(MERCHANTS)]
    users = [user for merchant, row in merchants for user in _people(merchant, row["people"])]
    User.objects.filter(email=STAFF).exists() or User.objects.create_superuser(
        STAFF, PASSWORD, name="Posz Staff"
    )
    users.append({"email": STAFF, "password": PASSWORD, "role": "staff", "merchant": None})
    return {
        "merchants": [_as_json(merchant) for merchant, _row in merchants],
        "users": users,
        "pos_token": _token(tokens, "demo-pos", None),
        "merchant_tokens": {
            str(merchant.pk): _token(tokens, f"demo-{merchant.pk}", merchant)
            for merchant, _row in merchants
        },
        "integrations": {
            row.slug: {f"{purpose}_secret": value for purpose, value in ensure_secrets(row).items()}
            for row in integrations
        },
    }


DEMO_TABLE = {
    "demo-table-a": ("Table Pay", "Bayar Meja", "Guests pay at the table", "Tamu bayar di meja"),
    "demo-table-b": ("Quick Check", "Cek Cepat", "Scan, pay, leave", "Pindai, bayar, pulang"),
}
DEMO_GREETING = ("Warm Words", "Kata Hangat", "A greeting on the receipt", "Salam di struk")
MERCHANT_KEY: dict[str, Any] = {
    "auth_shape": AuthShape.MERCHANT_KEY,
    "config_schema": {
        "type": "object",
        "properties": {
            "api_key": {
                "type": "string",
                "title": "API key",
                "x-title-id": "Kunci API",
                "x-help-en": "The partner sandbox accepts demo-valid-key.",
                "x-help-id": "Partner sandbox menerima demo-valid-key.",
                "maxLength": 200,
                "x-secret": True,
                "x-order": 1,
            },
            "greeting": {
                "type": "string",
                "title": "Greeting",
                "x-title-id": "Salam",
                "x-help-en": "Printed above the totals of each receipt.",
                "x-help-id": "Dicetak di atas total setiap struk.",
                "x-placeholder-en": "See you at the weekend!",
                "x-placeholder-id": "Sampai jumpa akhir pekan!",
                "maxLength": 96,
                "x-order": 2,
            },
        },
        "required": ["api_key"],
    },
    "request_auth": {"scheme": "bearer", "field": "api_key"},
    "verification_request": {
        "method": "GET",
        "path": "/posz/v1/verify",
        "headers": {"Authorization": "Bearer {config.api_key}"},
        "accept": [200],
        "wrong_key": [401, 403],
    },
}
DEMO_TEXTS = {
    "receipt_pretext": {
        "category_id": "receipt",
        "description_en": (
            "A demo partner that prints a greeting of yours above the totals. It wants a key of its "
            "own, so you see how a key is pasted, tested, replaced and removed."
        ),
        "description_id": (
            "Mitra demo yang mencetak salam Anda di atas total. Mitra ini memakai kunci sendiri, jadi "
            "Anda melihat cara menempel, menguji, mengganti, dan menghapus kunci."
        ),
    },
    "receipt_qr": {
        "category_id": "receipt",
        "description_en": (
            "A demo partner that adds a QR code of its own to the receipt. Install several to see "
            "how codes stack, up to three at one outlet."
        ),
        "description_id": (
            "Mitra demo yang menambahkan kode QR sendiri ke struk. Pasang beberapa untuk melihat "
            "kode bertumpuk, paling banyak tiga di satu outlet."
        ),
    },
    "pay_at_table": {
        "category_id": "payments",
        "description_en": (
            "A demo partner that takes over paying at the table. Only one can do that at an outlet, "
            "so installing the second one shows how a switch works."
        ),
        "description_id": (
            "Mitra demo yang mengambil alih pembayaran di meja. Hanya satu yang bisa melakukannya di "
            "satu outlet, jadi memasang yang kedua menunjukkan cara beralih."
        ),
    },
}


DEMO_OAUTH: dict[str, Any] = {
    "category_id": "crm",
    "status": IntegrationStatus.AVAILABLE,
    "is_demo": True,
    "name_en": "Guest Book",
    "name_id": "Buku Tamu",
    "tagline_en": "Connect your account and follow your regulars",
    "tagline_id": "Hubungkan akun Anda dan kenali pelanggan tetap",
    "description_en": (
        "A demo partner that you connect with an account of your own. You are taken to its consent "
        "page, choose an account, and come back connected. Every paid order is then sent to it."
    ),
    "description_id": (
        "Mitra demo yang dihubungkan dengan akun Anda sendiri. Anda dibawa ke halaman persetujuannya, "
        "memilih akun, lalu kembali dalam keadaan terhubung. Setiap pesanan yang dibayar dikirim ke "
        "sana."
    ),
    "auth_shape": AuthShape.OAUTH,
    "capabilities": {"customer_event_export": 1},
    "outbound_events": ["order.paid"],
    "data_residency": "id",
}


def _demo_partners() -> list[Integration]:
    return [
        *(_demo(slug, "receipt_qr", *texts) for slug, texts in DEMO_QR.items()),
        *(_demo(slug, "pay_at_table", *texts) for slug, texts in DEMO_TABLE.items()),
        _demo("demo-key", "receipt_pretext", *DEMO_GREETING, settings_of=MERCHANT_KEY),
        _demo_oauth(),
    ]


def _demo_oauth() -> Integration:
    """Played by the sandbox, its OAuth server included."""
    addresses = _demo_oauth_addresses()
    row = Integration.objects.filter(slug="demo-oauth").first()
    if row is None:
        row = Integration(slug="demo-oauth", **DEMO_OAUTH, **addresses)
        row.full_clean()
        row.save(force_insert=True)
    elif any(getattr(row, name) != value for name, value in addresses.items()):
        for name, value in addresses.items():
            setattr(row, name, value)
        row.save(update_fields=list(addresses))
    if not client_secret(row.slug):
        set_client_secret(row, token_urlsafe(32))
    return row


def _demo_oauth_addresses() -> dict[str, Any]:
    """Those that move with the sandbox's port."""
    base = f"{_sandbox()}/demo/demo-oauth"
    return {
        "api_base_url": base,
        "outbound_url": f"{_sandbox()}/events/demo-oauth",
        "oauth_settings": {
            "authorize_url": f"{base}/authorize",
            "token_url": f"{base}/token",
            "revoke_url": f"{base}/revoke",
            "account": {"url": f"{base}/me", "pointer": "/id", "name_pointer": "/name"},
            "client_id": CLIENT_ID,
            "scopes": list(SCOPES),
            "token_auth": "basic",
        },
    }


def _demo(
    slug: str,
    capability: str,
    name_en: str,
    name_id: str,
    line_en: str,
    line_id: str,
    *,
    settings_of: dict[str, Any] | None = None,
) -> Integration:
    row, is_new = Integration.objects.get_or_create(
        slug=slug,
        defaults={
            **DEMO_TEXTS[capability],
            "is_demo": True,
            "name_en": name_en,
            "name_id": name_id,
            "tagline_en": line_en,
            "tagline_id": line_id,
            "auth_shape": AuthShape.PLATFORM_SHARED,
            "capabilities": {capability: 1},
            "outbound_events": ["order.paid"],
            "data_residency": "id",
            "api_base_url": f"{_sandbox()}/demo/{slug}",
            "outbound_url": f"{_sandbox()}/events/{slug}",
            **(settings_of or {}),
        },
    )
    if is_new:
        row.status = IntegrationStatus.AVAILABLE
        row.full_clean()
        row.save(update_fields=["status"])
        return row
    return _moved(row, f"demo/{slug}", f"events/{slug}")


def _at_sandbox(row: Integration, events_path: str) -> Integration:
    return _moved(row, "", events_path, landing=f"{_sandbox()}/b")


def _moved(row: Integration, api_path: str, events_path: str, landing: str = "") -> Integration:
    """Point a row at the sandbox's address of today: the port may have changed."""
    wanted = {
        "api_base_url": f"{_sandbox()}/{api_path}".rstrip("/"),
        "outbound_url": f"{_sandbox()}/{events_path}",
        "landing_base_url": landing,
    }
    if any(getattr(row, name) != value for name, value in wanted.items()):
        for name, value in wanted.items():
            setattr(row, name, value)
        row.save(update_fields=list(wanted))
    return row


def _sandbox() -> str:
    return f"http://127.0.0.1:{settings.SANDBOX_PORT}"


def _merchant(index: int, row: dict[str, Any]) -> tuple[Merchant, dict[str, Any]]:
    merchant, is_new = Merchant.objects.get_or_create(
        pk=uuid.uuid5(DEMO, f"merchant-{index}"),
        defaults={key: row[key] for key in ("name", "email", "phone", "city")},
    )
    if is_new:
        for number, (name, city, address, zone, service) in enumerate(row["locations"]):
            Location.objects.create(
                pk=uuid.uuid5(DEMO, f"location-{index}-{number}"),
                merchant=merchant,
                name=name,
                city=city,
                address=address,
                timezone=zone,
                service_rate_bp=service,
            )
    return merchant, row


def _people(merchant: Merchant, people: list[tuple[str, str, Role]]) -> list[dict[str, Any]]:
    listed = []
    for email, name, role in people:
        user = User.objects.filter(email=email).first() or User.objects.create_user(
            email, PASSWORD, name=name
        )
        Membership.objects.get_or_create(user=user, merchant=merchant, defaults={"role": role})
        listed.append(
            {"email": email, "password": PASSWORD, "role": str(role), "merchant": merchant.name}
        )
    return listed


def _token(tokens: dict[str, str], name: str, merchant: Merchant | None) -> str:
    known = tokens.get(name)
    if known and ApiToken.objects.filter(digest=ApiToken.digest_of(known)).exists():
        return known
    tokens[name] = ApiToken.issue(name, merchant=merchant)
    return tokens[name]


def _as_json(merchant: Merchant) -> dict[str, Any]:
    return {
        "id": str(merchant.pk),
        "name": merchant.name,
        "locations": [
            {"id": str(item.pk), "name": item.name, "city": item.city}
            for item in merchant.locations.all()
        ],
    }
