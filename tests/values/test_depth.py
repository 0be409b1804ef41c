"""Values are nested 100 levels deep at most. What is deeper is refused where it is written, and spoils its key only."""

import gc
import sys

import pytest

from wsgisessions import DecodeError, EncodeError, JSONCodec, MemoryStore, SessionManager
from wsgisessions.testing import ManualClock

codec = JSONCodec()
MOST = 100

WRAPS = {
    "list": lambda inner: [inner],
    "dict": lambda inner: {"a": inner},
    "tuple": lambda inner: (inner,),
    "other keys": lambda inner: {1: inner},
    "tuple keys": lambda inner: {(1,): inner},
    "like a tag": lambda inner: {"$set": inner},
}
wraps = pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)


def nested(wrap, levels):
    value = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def with_a_stack_of(height, function):
    return function() if height == 0 else with_a_stack_of(height - 1, function)


@pytest.mark.parametrize("wrap", [wrap for name, wrap in WRAPS.items() if name != "tuple keys"])
def test_100_levels_are_kept_and_101_are_refused(wrap):
    value = nested(wrap, MOST)
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(
        EncodeError, match=r"^\[.* is nested deeper than 100 levels, or contains itself; store it flatter"
    ):
        codec.encode(nested(wrap, MOST + 1))


def test_keys_and_members_count_as_levels_too():
    value = frozenset()
    for _ in range(MOST - 1):
        value = frozenset({value})
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(EncodeError, match="nested deeper than 100 levels"):
        codec.encode(frozenset({value}))
    with pytest.raises(EncodeError, match="nested deeper than 100 levels"):
        codec.encode({value: 1})


def test_what_contains_itself_is_refused():
    loop = []
    loop.append({"a": loop})
    with pytest.raises(EncodeError, match="or contains itself"):
        codec.encode(loop)


def test_the_message_of_a_long_path_is_short():
    with pytest.raises(EncodeError) as raised:
        codec.encode(nested(lambda inner: {"a name" * 50: inner}, MOST + 1))
    assert len(str(raised.value)) < 300


@pytest.fixture
def no_collection():
    """Keep finalizers of other tests away from a full stack, where CPython 3.11 aborts if they overflow it again."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@wraps
@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("height", range(0, sys.getrecursionlimit(), 50))
def test_the_limit_does_not_depend_on_the_height_of_the_stack(wrap, height):
    """A stack that is nearly full is told as such, and never taken for a fault of the value."""
    value = [nested(wrap, 98), "[{" * 1000 + '"\\']
    text = codec.encode(value)
    for function, result in ((lambda: codec.encode(value), text), (lambda: codec.decode(text), value)):
        try:
            assert with_a_stack_of(height, function) == result
        except (EncodeError, RecursionError) as error:  # noqa: PERF203 -- two rounds
            assert "recursion" in str(error)  # noqa: PT017 -- a low stack raises nothing
            assert height > 200


@pytest.mark.parametrize("levels", [101, 150, 300, 500, 900, 5_000, 200_000])
@pytest.mark.parametrize(
    ("start", "end"),
    [("[", "]"), ('{"a":', "}"), ('{"$tuple":[', "]}"), ('{"$items":[[1,', "]]}"), ('{"$dict":{"$a":', "}}")],
)
def test_what_is_stored_deeper_is_a_decode_error(levels, start, end):
    with pytest.raises(DecodeError, match=r"^the stored value is nested deeper than 100 levels$"):
        codec.decode(start * levels + "[]" + end * levels)


def test_a_stored_key_that_is_too_deep_is_a_decode_error():
    levels = '{"$tuple":[' * MOST, "]}" * MOST
    with pytest.raises(DecodeError, match="nested deeper than 100 levels"):
        codec.decode('{"$items":[[' + "".join(levels) + ",1]]}")
    assert codec.decode("".join(levels))


def test_brackets_inside_a_text_are_no_levels():
    text = '["' + "[{" * 100_000 + '\\"[["]'
    assert codec.decode(text) == ["[{" * 100_000 + '"[[']


def test_what_is_stored_deeper_spoils_its_own_key_only():
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    manager = SessionManager(store, clock=clock)

    class Deep(JSONCodec):
        """As an earlier version encoded."""

        def encode(self, value):
            return "[" * 400 + "]" * 400 if value == "deep" else super().encode(value)

    session = SessionManager(store, codec=Deep(), clock=clock).open()
    session.update(deep="deep", name="ann")
    session.save()
    later = manager.open(session.id)
    assert later["name"] == "ann"
    with pytest.raises(DecodeError, match="session key 'deep'"):
        later["deep"]
    later["name"] = "bob"
    later.save()
    del later["deep"]
    later.save()
    assert dict(manager.open(session.id)) == {"name": "bob"}


def test_a_damaged_text_of_many_quotes_is_refused():
    """In a time that grows with its length; with the square of it, this test would never end."""
    with pytest.raises((DecodeError, RecursionError)):
        JSONCodec().decode("[" * 1200 + '\\"' * 400_000)
