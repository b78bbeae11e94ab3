"""What is agreed can be read: over the API, in the OpenAPI document, and on pages in two languages."""

import re

import pytest
import yaml
from django.test import Client
from jsonschema import Draft202012Validator

from catalog.capabilities import CAPABILITIES
from dispatch.operations import CONTRACTS, all_objects, all_operations
from installs.templatetags.posz import code_marks

CONTRACT_IDS = [pytest.param(item, id=item.name) for item in CONTRACTS.values()]


@pytest.mark.parametrize("contract", CONTRACT_IDS)
def test_api_gives_schemas_and_examples_that_agree(contract):
    found = Client().get(f"/v1/capabilities/{contract.capability}").json()
    [given] = [item for item in found["contracts"] if item["version"] == contract.version]
    documents = [
        item[what]
        for item in given["operations"]
        for what in ("request", "answer")
        if item[what] is not None
    ]

    assert found["name"] == contract.capability
    assert [item["name"] for item in given["operations"]] == [
        item.name for item in contract.operations
    ]
    assert all(Draft202012Validator(item["schema"]).is_valid(item["example"]) for item in documents)


def test_api_tells_all_of_one_operation():
    found = Client().get("/v1/capabilities/payment_method").json()
    refund = found["contracts"][0]["operations"][3]

    assert {name: refund[name] for name in refund if name not in {"request", "answer"}} == {
        "name": "refund",
        "path": "payment_method/refund",
        "direction": "sync",
        "wire": "posz",
        "summary": {
            "en": "Give money back, all of it or a part.",
            "id": "Kembalikan dana, seluruhnya atau sebagian.",
        },
        "on_failure": {
            "code": "not_done",
            "en": "It counts as not done, and the person at the till is told. Nothing is assumed.",
            "id": "Dianggap belum terjadi, dan kasir diberi tahu. Tidak ada yang diandaikan.",
        },
        "budget_ms": 5000,
        "idempotency_key": ["refund_id"],
        "events": [],
    }


@pytest.mark.parametrize("name", ["teleport", "%00", "__class__"])
@pytest.mark.parametrize("place", ["/v1/capabilities/", "/docs/integrations/capabilities/"])
def test_nothing_else_is_known(place, name):
    assert Client(raise_request_exception=False).get(place + name).status_code == 404


def test_openapi_document_holds_every_object_and_all_it_refers_to():
    document = yaml.safe_load(Client().get("/v1/openapi.yaml").content)
    schemas = document["components"]["schemas"]
    names = {f"Contract{name}" for name in all_objects("#/{name}")}

    assert names <= set(schemas)
    assert schemas["ContractNewPayment"]["properties"]["items"]["items"] == {
        "$ref": "#/components/schemas/ContractLine"
    }
    assert {name for name in references(document) if name not in schemas} == set()


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


@pytest.mark.parametrize("lang", ["en", "id"])
def test_index_leads_to_every_page_in_the_language_asked_for(lang):
    text = Client().get(f"/docs/integrations?lang={lang}").content.decode()

    assert f'<html lang="{lang}">' in text
    assert [
        name for name in CAPABILITIES if f'"/docs/integrations/capabilities/{name}"' not in text
    ] == []


@pytest.mark.parametrize("lang", ["en", "id"])
@pytest.mark.parametrize("contract", CONTRACT_IDS)
def test_page_shows_every_operation_in_the_language_asked_for(contract, lang):
    address = f"/docs/integrations/capabilities/{contract.capability}?lang={lang}"
    response = Client().get(address)
    text = response.content.decode()
    sentences = [getattr(contract.words, lang), getattr(contract.failure, lang)]
    sentences += [getattr(item.words, lang) for item in contract.operations]

    assert response.status_code == 200
    assert [item for item in sentences if code_marks(item) not in text] == []
    assert [
        item.name
        for item in contract.operations
        if f'id="v{contract.version}-{contract.path(item)}"' not in text
    ] == []


def test_page_shows_fields_with_their_kinds():
    text = Client().get("/docs/integrations/capabilities/payment_method").content.decode()

    assert "manual | push | qr | redirect | terminal" in text
    assert "<code>items</code></dt><dd>Line[]" in text


def test_pages_name_all_operations():
    assert len(list(all_operations())) > 60


def test_names_within_a_sentence_are_shown_as_code():
    text = Client().get("/docs/integrations/capabilities/payment_method").content.decode()

    assert "<code>pending_verification</code>" in text
    assert "`" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)


def test_code_within_a_sentence_is_escaped():
    assert code_marks("a `<b>` & <i>") == "a <code>&lt;b&gt;</code> &amp; &lt;i&gt;"
