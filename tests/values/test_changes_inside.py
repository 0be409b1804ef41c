"""A change inside a kept value of any class is found and saved, in any place."""

from collections import Counter, OrderedDict, defaultdict, namedtuple

import pytest

from wsgisessions import DecodeError, EncodeError, JSONCodec, MemoryStore, SessionManager


class Items(list):
    pass


class Token(dict):
    pass


class Names(set):
    pass


class Text(str):
    """A str with an attribute, of which the session knows nothing."""


Pair = namedtuple("Pair", "name items")


@pytest.fixture
def manager():
    return SessionManager(MemoryStore())


def saved(manager, session):
    session.save()
    return dict(manager.open(session.id))


CHANGES = [
    (Counter("a"), lambda value: value.update("a"), {"a": 2}),
    (OrderedDict(a=1, b=2), lambda value: value.move_to_end("a"), {"b": 2, "a": 1}),
    (defaultdict(list), lambda value: value["new"].append(1), {"new": [1]}),
    (Token(a=1), lambda value: value.update(b=2), {"a": 1, "b": 2}),
    (Items([1]), lambda value: value.append(2), [1, 2]),
    (Names({1}), lambda value: value.add(2), {1, 2}),
    (Pair("a", [1]), lambda value: value.items.append(2), ("a", [1, 2])),
    ({7: [1]}, lambda value: value[7].append(2), {7: [1, 2]}),
    ({(1, 2): Counter()}, lambda value: value[1, 2].update("x"), {(1, 2): {"x": 1}}),
]

PLACES = [
    (lambda value: value, lambda whole: whole),
    (lambda value: [0, value], lambda whole: whole[1]),
    (lambda value: {"a": {"b": value}}, lambda whole: whole["a"]["b"]),
    (lambda value: ({1: value},), lambda whole: whole[0][1]),
    (lambda value: Items([Token(t=Pair(value, 0))]), lambda whole: whole[0]["t"][0]),
]


@pytest.mark.parametrize(("value", "change", "expected"), CHANGES)
@pytest.mark.parametrize(("put", "take"), PLACES)
def test_a_change_after_the_assignment_is_saved(manager, value, change, expected, put, take):
    import copy

    value = copy.deepcopy(value)
    session = manager.open()
    session["key"] = put(value)
    session.save()
    assert not session.is_modified
    change(value)
    assert session.is_modified
    found = take(saved(manager, session)["key"])
    assert found == expected
    if isinstance(expected, dict):
        assert list(found) == list(expected)


@pytest.mark.parametrize("other", [Text("a"), "a"])
def test_a_base_and_its_subclass_are_one_value(manager, other):
    session = manager.open()
    session["key"] = Text("a")
    session.save()
    session["key"] = other
    assert not session.is_modified


def test_what_a_subclass_has_beside_its_base_is_no_change(manager):
    session = manager.open()
    session["key"] = text = Text("a")
    session.save()
    text.attribute = 5
    assert not session.is_modified


class Money:
    def __init__(self, cents):
        self.cents = cents


def test_a_change_inside_a_taught_value_is_saved():
    codec = JSONCodec(types={Money: (lambda money: money.cents, Money)})
    manager = SessionManager(MemoryStore(), codec=codec)
    session = manager.open()
    session["prices"] = [Money(5)]
    session.save()
    session["prices"][0].cents = 6
    assert session.is_modified
    assert saved(manager, session)["prices"][0].cents == 6


def test_a_change_that_cannot_be_kept_is_refused_at_the_commit_with_its_path(manager):
    session = manager.open()
    session["key"] = {"a": Counter()}
    session.save()
    session["key"]["a"]["b"] = [object()]
    with pytest.raises(EncodeError, match=r"^session key 'key': \['a'\]\['b'\]\[0\] is of type builtins\.object"):
        session.save()


def rivals(store, **options):
    """Return two sessions of one ID that have both read the key."""
    manager = SessionManager(store, **options)
    first = manager.open()
    first["list"] = []
    first.save()
    pair = manager.open(first.id), manager.open(first.id)
    for session in pair:
        session["list"].append(1)
    return pair


def test_a_merge_that_cannot_be_kept_is_refused_with_its_key():
    first, second = rivals(MemoryStore(), merges={"list": lambda base, mine, theirs: [object()]})
    first.save()
    with pytest.raises(EncodeError, match=r"^session key 'list': \[0\] is of type builtins\.object"):
        second.save()


def test_a_merge_of_what_cannot_be_read_is_refused_with_its_key():
    store = MemoryStore()
    codec = JSONCodec(types={Money: (lambda money: money.cents, Money)})
    first, second = rivals(store, merges={"list": lambda base, mine, theirs: mine})
    other = SessionManager(store, codec=codec).open(first.id)
    other["list"] = [Money(5)]
    other.save()
    with pytest.raises(DecodeError, match=r"^session key 'list': .* the tag '\$Money'"):
        second.save()


def test_what_renders_itself_may_look_into_the_session_at_the_commit(make_browser):
    """Flask-Babel's strings ask the app for the language, which it may keep in the session."""
    browser = make_browser()
    browser.get(lambda session: session.update(items=["tea"], prefs={"language": "de"}))

    def view(session):
        class Lazy:
            def __html__(self):
                return session["prefs"]["language"]

        session["items"].append(Lazy())

    assert browser.get(view).status == "200 OK"
    assert browser.get(dict).result["items"] == ["tea", "de"]
