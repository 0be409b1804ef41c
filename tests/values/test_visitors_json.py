"""JSON that an app stores as a visitor sent it never becomes another type, whatever the visitor knows of the format."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import Markup

from wsgisessions import JSONCodec, MemoryStore, SessionManager
from wsgisessions.tags import CONTAINER_TAGS, LOADERS


class Money:
    pass


codec = JSONCodec(types={Money: (lambda money: None, lambda content: Money())}, allow_nan=True)

TAGS = [*sorted({*LOADERS, *CONTAINER_TAGS}), "$Money"]
CONTENTS = [
    "<script>",
    "2030-01-01",
    "2030-01-01T00:00:00",
    "12:00:00",
    "00000000-0000-0000-0000-000000000005",
    "AA==",
    "nan",
    "1.5",
    [1, 2, 3],
    [[1, 2]],
    [],
    {},
    None,
]

names = st.sampled_from([*TAGS, "$", "$$dict", "$unknown", "\\u0024set", "dict", "a"])
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(CONTENTS)
)
sent = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(names, inner, max_size=3),
        names.flatmap(lambda name: inner.map(lambda content: {name: content})),
        names.flatmap(lambda name: inner.map(lambda content: {"$dict": {name: content}})),
        names.flatmap(lambda name: inner.map(lambda content: {"$items": [[name, content]]})),
        inner.map(lambda content: json.loads(codec.encode(content))),  # escaped already, once more or twice
    ),
    max_leaves=25,
)

JSON_TYPES = {type(None), bool, int, float, str, list, dict}


def types_in(value):
    found = {type(value)}
    if isinstance(value, dict):
        found |= {type(key) for key in value}
        return found.union(*map(types_in, value.values()))
    return found.union(*map(types_in, value)) if isinstance(value, list) else found


@given(sent)
@example({"$Markup": "<script>"})
@example({"$dict": {"$Markup": "<script>"}})
@example({"$dict": {"$dict": {"$Markup": "<script>"}}})
@example({"$items": [[{"$Markup": "<script>"}, 1]]})
@example([{"$Money": None}, {"$dict": {"$Money": None}}])
def test_what_a_visitor_sent_comes_back_as_it_was(value):
    for codec_ in (codec, JSONCodec()):
        back = codec_.decode(codec_.encode(value))
        assert back == value
        assert types_in(back) <= JSON_TYPES
        assert codec_.decode(codec_.encode_typed(value)) == value


@given(sent)
def test_a_text_never_depends_on_what_it_was_escaped_from(value):
    """A second and a third time through the session, as for an app that hands on what it has read."""
    once = codec.decode(codec.encode(value))
    assert codec.encode(codec.decode(codec.encode([once, {"again": once}]))) == codec.encode([value, {"again": value}])


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("content", CONTENTS)
def test_every_tag_with_every_content_at_any_depth(tag, content):
    value = {tag: content}
    for depth in range(45):
        assert codec.decode(codec.encode(value)) == value
        assert types_in(codec.decode(codec.encode(value))) <= JSON_TYPES
        value = ({tag: value}, {"$dict": value}, [value], {"a": value})[depth % 4]


@pytest.mark.parametrize("tag", TAGS)
def test_a_long_one_is_no_other_than_a_short_one(tag):
    value = [{tag: "x" * 100_000}, *({tag: number} for number in range(5_000))]
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("content", CONTENTS)
def test_what_a_visitor_sent_is_read_as_no_type_that_a_tag_stands_for(tag, content):
    manager = SessionManager(MemoryStore(), codec=codec)
    session = manager.open()
    session["prefs"] = {"a": {tag: content}, "b": content}
    session.save()
    later = manager.open(session.id)
    assert types_in(later["prefs"]) <= JSON_TYPES
    for kind in (Markup, datetime, date, time, timedelta, UUID, Decimal, bytes, Money):
        with pytest.raises(ValueError, match=f"session key 'prefs': the stored value is no {dict[str, kind].__name__}"):
            later.get("prefs", type=dict[str, kind])
