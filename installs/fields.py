"""The one encrypted field: a JSON value inside one Fernet token that only opens where it belongs.

The plaintext names its model, column and row, so that a token copied to another place is refused.
Reading is lazy: a row leaves the database sealed, and the first access to the attribute opens it.
The column is written by `save()`, `create()` and `bulk_create()` alone, the doors at which the row
is known, and no lookup but isnull looks at it.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.utils.translation import gettext_lazy as _
from encrypted_model_fields.fields import EncryptedTextField
from rest_framework import serializers

ENCRYPTED = "[encrypted]"


class DecryptError(Exception):
    """A stored value that does not open. Names the field, never the data."""


class Sealed:
    """A token as it stands in the database."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return ENCRYPTED


def rewrap(sealed: Sealed) -> Sealed | None:
    """The same content under the newest key, None where it is under it already.

    Write it with `update()` while the row is locked, or a change made meanwhile is lost.
    """
    token = rewrap_token(sealed.token)
    return None if token is None else Sealed(token)


def rewrap_token(token: str) -> str | None:
    """As `rewrap`, for a token that another library stores."""
    keys = _keys()
    with suppress(InvalidToken, ValueError):
        _crypter(keys[:1]).decrypt(token)
        return None
    try:
        return _crypter(keys).rotate(token).decode()
    except (InvalidToken, ValueError):
        raise DecryptError("No configured key opens this value.") from None


@lru_cache(maxsize=8)
def _crypter(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        message = "FIELD_ENCRYPTION_KEY must list Fernet keys, the newest first."
        raise ImproperlyConfigured(message) from None


def _keys() -> tuple[str, ...]:
    keys: str | Iterable[str] = settings.FIELD_ENCRYPTION_KEY
    return (keys,) if isinstance(keys, str) else tuple(keys)


def crypter() -> MultiFernet:
    """For secrets that another library stores, such as those of second factors."""
    return _crypter(_keys())


class SealedAttribute(DeferredAttribute):
    field: "EncryptedJSONField"

    # Having __set__ makes this win over the instance's __dict__, so that every read comes here.
    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = value

    def __get__(self, instance: models.Model | None, cls: type[models.Model] | None = None) -> Any:
        value = super().__get__(instance, cls)
        if instance is not None and isinstance(value, Sealed):
            value = self.field.unseal(value, instance.pk)
            instance.__dict__[self.field.attname] = value
        return value


class EncryptedJSONField(EncryptedTextField):  # type: ignore[misc]
    description = _("JSON in one encrypted token")
    descriptor_class = SealedAttribute

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"editable": False})

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("editable", None)
        return name, path, args, kwargs

    @property
    def label(self) -> str:
        return f"{self.model._meta.label_lower}.{self.column}"

    def seal(self, value: Any, pk: Any) -> Sealed:
        envelope = {"field": self.label, "row": str(pk), "value": value}
        text = json.dumps(envelope, allow_nan=False, separators=(",", ":"))
        return Sealed(_crypter(_keys()).encrypt(text.encode()).decode())

    def unseal(self, sealed: Sealed, pk: Any) -> Any:
        try:
            envelope = json.loads(_crypter(_keys()).decrypt(sealed.token))
            field, row, value = envelope["field"], envelope["row"], envelope["value"]
        except InvalidToken:
            raise DecryptError(f"{self.label}: no configured key opens this value.") from None
        except (KeyError, TypeError, ValueError):
            raise DecryptError(f"{self.label}: this value was not written here.") from None
        if (field, row) != (self.label, str(pk)):
            raise DecryptError(f"{self.label}: this value belongs to another field or row.")
        return value

    def to_python(self, value: Any) -> Any:
        return value

    def from_db_value(self, value: str | None, *_args: Any) -> Sealed | None:
        return None if value is None else Sealed(value)

    def pre_save(self, model_instance: models.Model, add: bool) -> Sealed | None:  # noqa: ARG002
        value = getattr(model_instance, self.attname)
        if value is None:
            return None
        if model_instance.pk is None:
            raise FieldError(f"{self.label}: give the row its primary key before saving it.")
        if hasattr(value, "resolve_expression"):
            raise FieldError(f"{self.label}: takes JSON values only, no expressions.")
        return self.seal(value, model_instance.pk)

    def get_prep_value(self, value: Any) -> Any:
        return value

    def get_db_prep_save(self, value: Any, connection: Any) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        if isinstance(value, Sealed):
            return value.token
        raise FieldError(
            f"{self.label}: the row is not known here; use save(update_fields=[{self.name!r}])."
        )

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name != "isnull":
            raise FieldError(f"{self.label}: only the isnull lookup works on encrypted values.")
        return super().get_lookup(lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        raise FieldError(f"{self.label}: encrypted values have no {lookup_name!r} to look at.")

    def value_from_object(self, obj: models.Model) -> str | None:  # noqa: ARG002
        return ENCRYPTED

    def value_to_string(self, obj: models.Model) -> str:  # noqa: ARG002
        return ENCRYPTED


class EncryptedSerializerField(serializers.CharField):
    """What a ModelSerializer shows of an encrypted field that it was not told to leave out."""

    def get_attribute(self, instance: models.Model) -> str:  # noqa: ARG002
        return ENCRYPTED


serializers.ModelSerializer.serializer_field_mapping[EncryptedJSONField] = EncryptedSerializerField
