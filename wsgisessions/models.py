"""What is stored of a dataclass, an attrs class, a msgspec Struct or a pydantic model.

Neither attrs nor pydantic is imported, unless a class is one of theirs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec


def is_pydantic(kind: type) -> bool:
    """Tell whether a class is a pydantic model."""
    return hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_dump")


def is_model(kind: type) -> bool:
    """Tell whether a class is one of the four kinds."""
    return is_pydantic(kind) or any(
        hasattr(kind, each) for each in ("__struct_fields__", "__attrs_attrs__", "__dataclass_fields__")
    )


def members_of(value: Any) -> Any:
    """Return the fields of a model with their values, as a dict, or as its kind stores them."""
    if is_pydantic(type(value)):
        # Its warnings would quote values.
        return value.model_dump(round_trip=True, by_alias=False, warnings=False)
    if isinstance(value, msgspec.Struct):
        return _members_of_struct(value)
    fields = getattr(type(value), "__attrs_attrs__", None) or dataclasses.fields(value)
    return {field.name: getattr(value, field.name) for field in fields}


def _members_of_struct(value: msgspec.Struct) -> Any:
    config = value.__struct_config__
    items = [getattr(value, name) for name in value.__struct_fields__]
    if config.array_like:
        return items if config.tag is None else [config.tag, *items]
    members = {
        name: item
        for name, item in zip(value.__struct_encode_fields__, items, strict=True)
        if item is not msgspec.UNSET
    }
    return members if config.tag is None else {config.tag_field: config.tag, **members}
