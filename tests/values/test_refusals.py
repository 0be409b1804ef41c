"""A refusal is raised in the line that assigns, and names key, path, type and what to write instead; never a value."""

import datetime
import enum
import traceback
from collections import UserDict, deque
from dataclasses import dataclass

import attrs
import msgspec
import pydantic
import pytest
from markupsafe import Markup

from wsgisessions import DecodeError, EncodeError, JSONCodec, MemoryStore, SessionManager

SECRET = "a secret value"


@pytest.fixture
def session():
    return SessionManager(MemoryStore()).open()


@dataclass
class Point:
    x: str = SECRET


@attrs.define
class AttrsPoint:
    x: str = SECRET


class StructPoint(msgspec.Struct):
    x: str = SECRET


class ModelPoint(pydantic.BaseModel):
    x: str = SECRET


class Unknown:
    def __init__(self):
        self.secret = SECRET

    def __repr__(self):
        return SECRET

    __str__ = __repr__


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            Unknown(),
            r"Unknown, which a session does not keep; store an ID, a str or a dict of its parts instead, or teach",
        ),
        (Unknown(), r"Unknown, which a session does not keep; store an ID, a str or a dict"),
        (deque([SECRET]), r"collections\.deque, which a session does not keep; write list\(\.\.\.\) around it$"),
        (range(3), r"write list\(\.\.\.\) around it$"),
        ({SECRET: 1}.values(), r"write list\(\.\.\.\) around it$"),
        ({SECRET: 1}.keys(), r"write set\(\.\.\.\) around it$"),
        (UserDict({SECRET: 1}), r"write dict\(\.\.\.\) around it$"),
        (bytearray(SECRET.encode()), r"which a session does not keep; write bytes\(\.\.\.\) around it$"),
        (Point(), r"Point, which a session does not keep as it is; use session\.bucket\(Point\)$"),
        (AttrsPoint(), r"use session\.bucket\(AttrsPoint\)$"),
        (StructPoint(), r"use session\.bucket\(StructPoint\)$"),
        (ModelPoint(), r"use session\.bucket\(ModelPoint\) or its \.model_dump\(mode='json'\)$"),
        (float("nan"), r"is nan, which JSON cannot hold; store None, or use JSONCodec\(allow_nan=True\)$"),
        (SECRET + "\ud800", r"is text with a lone surrogate, which UTF-8 cannot hold; store text\.encode"),
        ({SECRET[:3] + "\udfff": 1}, r"has a key with a lone surrogate"),
        pytest.param(10**5000, r"is an int with more digits than Python writes; store a str of it$", id="int"),
    ],
)
def test_a_refusal_names_key_path_and_what_to_write_instead(session, value, message):
    with pytest.raises(EncodeError, match=rf"^session key 'cart': \['items'\]\[1\] .*{message}") as raised:
        session["cart"] = {"items": [0, value]}
    shown = "".join(traceback.format_exception(raised.value))
    assert SECRET not in shown
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Unknown(), "the value"),
        ([Unknown()], r"\[0\]"),
        ((1, Unknown()), r"\[1\]"),
        ({Unknown()}, r"\{…\}"),
        ({"a": {"b": [Unknown()]}}, r"\['a'\]\['b'\]\[0\]"),
        ({7: Unknown()}, r"\[a key of type int\]"),
        ({Unknown(): 1}, r"\[a key of type Unknown\]"),
        ({(1, SECRET): Unknown()}, r"\[a key of type tuple\]"),
        ({Markup("b"): Unknown()}, r"\['b'\]"),
        ({"x" * 1000: Unknown()}, rf"\['{'x' * 60}'…\]"),
    ],
)
def test_the_path_shows_names_and_no_values(session, value, path):
    with pytest.raises(EncodeError, match=rf"^session key 'cart': {path} is of type .*Unknown") as raised:
        session["cart"] = value
    assert SECRET not in str(raised.value)


def library_code(session):
    session["token"] = {"expires": Unknown()}


def test_the_line_that_assigned_is_in_the_traceback(session):
    with pytest.raises(EncodeError) as raised:
        library_code(session)
    lines = [frame.line for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert 'session["token"] = {"expires": Unknown()}' in lines


@pytest.mark.parametrize("way", ["update", "setdefault", "|="])
def test_each_way_to_assign_refuses(session, way):
    with pytest.raises(EncodeError, match="session key 'a'"):
        if way == "update":
            session.update(a=Unknown())
        elif way == "setdefault":
            session.setdefault("a", Unknown())
        else:
            session |= {"a": Unknown()}
    assert "a" not in session


def test_what_renders_itself_and_fails_is_named_without_what_it_says(session):
    class Broken:
        def __html__(self):
            raise LookupError(SECRET)

    with pytest.raises(
        EncodeError, match=r"session key 'a': \[0\] is of type .*Broken, whose own code raised"
    ) as raised:
        session["a"] = [Broken()]
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_neither_a_repr_nor_a_stored_text_shows_a_value(session):
    session.update(name=SECRET, nested=[SECRET])
    session["nested"].append(SECRET)
    assert SECRET not in repr(session)
    session.save()
    with pytest.raises(DecodeError, match="session key 'name': the stored value is no datetime") as raised:
        session.get("name", type=datetime.datetime)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("error", [ValueError, TypeError, OverflowError, LookupError, RuntimeError])
def test_an_error_of_a_values_own_code_is_named_with_its_path_and_without_what_it_says(error):
    class Items(list):
        def __iter__(self):
            raise error(SECRET)

    class Odd(enum.Enum):
        ONE = 1

        @property
        def value(self):
            raise error(SECRET)

    class Shown:
        def __html__(self):
            raise error(SECRET)

    for value in (Items(), Odd.ONE, Shown()):
        with pytest.raises(
            EncodeError, match=rf"^\['a'\]\[0\] is of type .*, whose own code raised {error.__name__}$"
        ) as raised:
            JSONCodec().encode({"a": [value]})
        assert SECRET not in str(raised.value)
        assert raised.value.__context__ is None
