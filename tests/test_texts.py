"""Every text that a person reads is in the Indonesian catalog, and the compiled catalog is that one.

Nothing here needs gettext's own programs, so it holds on machines that can't run `make messages`.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[1]
LOCALE = ROOT / "locale" / "id" / "LC_MESSAGES"
APPS = ("catalog", "installs", "dispatch", "webhooks", "poszhub")
# What Django's `makemessages` looks for: under another name a text is never collected.
KEYWORDS: dict[str, tuple[int | tuple[int, str], ...] | None] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-#0 +]*\d*(?:\.\d+)?[sdf]|\{\w*\}")
# Names, loan words and terms of a protocol that an Indonesian writes as they are.
SAME_IN_BOTH = frozenset(
    {
        "Admin",
        "Australia",
        "Dispatch",
        "E-mail",
        "Event",
        "Hong Kong",
        "Hub",
        "India",
        "Indonesia",
        "Item",
        "Malaysia",
        "Member",
        "Menu",
        "Merchant",
        "Mode",
        "Outlet",
        "Posz",
        "Sandbox",
        "Status",
        "Status %(status)s",
        "Subtotal",
        "Thailand",
        "Total",
        "data",
        "event",
        "logo",
        "merchant",
        "outlet",
        "slug",
        "status",
    }
)

# Context, English and the English plural.
Text = tuple[str | None, str, str | None]


def of_source(name: str, source: str) -> Iterator[tuple[Text, str]]:
    code = BytesIO(source.encode())
    for line, found, _, context in extract("python", code, KEYWORDS, options={"encoding": "utf-8"}):
        singular, plural = (found, None) if isinstance(found, str) else (found[0], found[1])
        yield (context, singular, plural), f"{name}:{line}"


def of_project() -> dict[Text, str]:
    """Each text that the code and the templates hold, with a place where it stands."""
    texts: dict[Text, str] = {}
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            texts.update(of_source(str(path.relative_to(ROOT)), path.read_text()))
    for path in (ROOT / "templates").rglob("*.*"):
        # What is left of a template is calls among blanks, which Python would take for indents.
        calls = re.sub(r"^\s+", "", templatize(path.read_text()), flags=re.MULTILINE)
        texts.update(of_source(str(path.relative_to(ROOT)), calls))
    return texts


def text_of(message: Message) -> Text:
    # Babel leaves the context of a compiled text as bytes.
    context: str | bytes | None = message.context
    context = context.decode() if isinstance(context, bytes) else context
    singular, plural = (message.id, None) if isinstance(message.id, str) else message.id
    return context, singular, plural


def translations_of(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ())


def entries(catalog: Catalog) -> dict[Text, Message]:
    return {text_of(message): message for message in catalog if message.id}


@pytest.fixture(scope="module")
def po() -> Catalog:
    with (LOCALE / "django.po").open("rb") as file:
        return read_po(file, locale="id", abort_invalid=True)


def test_texts_of_code_and_templates_are_all_in_the_catalog(po: Catalog) -> None:
    known = entries(po)

    missing = {text: place for text, place in of_project().items() if text not in known}

    assert not missing, "run `make messages` and translate these"


def test_texts_of_the_catalog_are_all_in_use(po: Catalog) -> None:
    unused = entries(po).keys() - of_project().keys()

    assert not unused, "run `make messages`"


def test_texts_are_all_translated(po: Catalog) -> None:
    unfinished = [
        text
        for text, message in entries(po).items()
        if message.fuzzy or not all(item.strip() for item in translations_of(message))
    ]

    assert not unfinished


def test_texts_have_one_form_for_any_number(po: Catalog) -> None:
    forms = {text: len(translations_of(message)) for text, message in entries(po).items()}

    assert po.num_plurals == 1
    assert set(forms.values()) == {1}


def test_texts_keep_their_placeholders_and_markup(po: Catalog) -> None:
    def parts(text: str) -> tuple[Counter[str], list[str]]:
        return Counter(PLACEHOLDER.findall(text)), sorted(re.findall(r"</?\w[^>]*>", text))

    # A singular may say “one” in words where the plural has a number.
    wrong = [
        text
        for text, message in entries(po).items()
        if parts(text[2] or text[1]) != parts(translations_of(message)[0])
    ]

    assert not wrong


def test_texts_begin_and_end_as_their_sources_do(po: Catalog) -> None:
    def edges(text: str) -> tuple[bool, bool, bool, bool]:
        return (
            text[0].isspace(),
            text[-1].isspace(),
            text.endswith("…"),
            text.endswith("."),
        )

    wrong = [
        text
        for text, message in entries(po).items()
        if edges(text[1]) != edges(translations_of(message)[0])
    ]

    assert not wrong


def test_texts_differ_from_english_unless_named_here(po: Catalog) -> None:
    same = {text[1] for text, message in entries(po).items() if message.id == message.string}

    assert same == SAME_IN_BOTH


def test_texts_compiled_are_those_of_the_catalog(po: Catalog) -> None:
    with (LOCALE / "django.mo").open("rb") as file:
        compiled = read_mo(file)

    written = {text: translations_of(message) for text, message in entries(po).items()}
    found = {text: translations_of(message) for text, message in entries(compiled).items()}

    assert found == written, "run `make messages`"


def test_texts_compiled_are_read_by_gettext() -> None:
    with (LOCALE / "django.mo").open("rb") as file:
        translations = GNUTranslations(file)

    assert translations.gettext("Install") == "Pasang"
    assert translations.pgettext("receipt", "Takeaway") == "Bawa pulang"
    assert translations.ngettext("%(count)d token revoked.", "%(count)d tokens revoked.", 2) == (
        "%(count)d token dicabut."
    )


@pytest.mark.parametrize("app", APPS)
def test_texts_are_marked_by_names_that_are_collected(app: str) -> None:
    imported = {
        name.asname or name.name
        for path in (ROOT / app).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"
        for name in node.names
        if "gettext" in name.name
    }

    assert imported <= KEYWORDS.keys()
