"""Pydantic models, read as strictly as everything else. Pydantic is imported once a class is one of its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

_STRICT = frozenset(
    (
        *("str", "int", "float", "complex", "bool", "decimal", "date", "time", "datetime", "timedelta"),
        *("uuid", "bytes", "url", "multi-host-url"),
    )
)
"""What pydantic would otherwise make of a str. An Enum's member is still made of its value, a model of a dict."""

_NO_SCHEMAS = frozenset(
    ("config", "cls", "default", "default_factory", "expected", "members", "metadata", "serialization")
)

_validators: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def is_pydantic(kind: type) -> bool:
    """Tell whether a class is a pydantic model."""
    return hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_dump")


def validated(kind: Any, value: Any) -> Any:
    """Return a decoded value as a pydantic model.

    :raises ValueError: it does not fit.
    """
    validator = _validators.get(kind)
    if validator is None:
        from pydantic_core import SchemaValidator

        if not kind.__pydantic_complete__:
            kind.model_rebuild()
        validator = _validators[kind] = SchemaValidator(_strict(dict(kind.__pydantic_core_schema__)))
    return validator.validate_python(value, by_name=True, by_alias=True)


def _strict(schema: Any) -> Any:
    """Return a copy of a core schema whose plain types take only values that are of this type already."""
    if isinstance(schema, (list, tuple)):
        return type(schema)([_strict(each) for each in schema])
    if not isinstance(schema, Mapping):
        return schema
    kind = schema.get("type")
    if not isinstance(kind, str):  # names of fields, or tags, with their schemas
        return {name: _strict(each) for name, each in schema.items()}
    copy = {name: each if name in _NO_SCHEMAS else _strict(each) for name, each in schema.items()}
    if kind in _STRICT:
        copy["strict"] = True
    if kind == "model":
        # A model's own __init__ would validate by the model's own rules.
        copy["custom_init"] = False
    return copy
