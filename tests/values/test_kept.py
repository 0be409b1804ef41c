"""What is kept, by the first rule that fits: exact types, the app's, what renders itself, subclasses, numbers, Enum."""

import enum
import numbers
from collections import Counter, OrderedDict, defaultdict, namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from werkzeug.datastructures import CombinedMultiDict, ImmutableMultiDict, MultiDict

from wsgisessions import EncodeError, JSONCodec

codec = JSONCodec()


def round_trip(value, codec=codec):
    return codec.decode(codec.encode(value))


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Data(bytes):
    pass


class Day(date):
    pass


class Moment(datetime):
    pass


class Clock(time):
    pass


class Span(timedelta):
    pass


class ID(UUID):
    pass


class Price(Decimal):
    pass


class Items(list):
    pass


class Names(set):
    pass


class Fixed(frozenset):
    pass


class Shout(Markup):
    pass


class Level(enum.IntEnum):
    HIGH = 3


class Size(str, enum.Enum):
    LARGE = "large"

    def __str__(self):
        return "something else"


class Colour(enum.Enum):
    RED = "red"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


SUBCLASSES = [
    (Text("a"), "a"),
    (Whole(5), 5),
    (Real(1.5), 1.5),
    (Data(b"a"), b"a"),
    (Day(2030, 1, 2), date(2030, 1, 2)),
    (Moment(2030, 1, 2, 3, 4, 5, 6, timezone.utc), datetime(2030, 1, 2, 3, 4, 5, 6, timezone.utc)),
    (Clock(12, 30), time(12, 30)),
    (Span(days=1, seconds=2), timedelta(days=1, seconds=2)),
    (ID(int=5), UUID(int=5)),
    (Price("1.10"), Decimal("1.10")),
    (Items([1, Items([2])]), [1, [2]]),
    (Names({1}), {1}),
    (Fixed({1}), frozenset({1})),
    (namedtuple("Pair", "a b")(1, [2]), (1, [2])),
    (Counter("aab"), {"a": 2, "b": 1}),
    (defaultdict(list, a=[1]), {"a": [1]}),
    (ImmutableMultiDict([("a", "1"), ("a", "2")]), {"a": ["1", "2"]}),
    (Level.HIGH, 3),
    (Size.LARGE, "large"),
]


def is_exactly(value, expected):
    if type(value) is not type(expected) or value != expected:
        return False
    if isinstance(expected, dict):
        return all(is_exactly(each, other) for each, other in zip(value.items(), expected.items(), strict=True))
    if isinstance(expected, (list, tuple)):
        return all(is_exactly(each, other) for each, other in zip(value, expected, strict=True))
    return True


@pytest.mark.parametrize(("value", "base"), SUBCLASSES)
def test_a_subclass_comes_back_as_its_base(value, base):
    assert is_exactly(round_trip(value), base)
    assert is_exactly(round_trip({"nested": [(value,)]}), {"nested": [(base,)]})


@pytest.mark.parametrize(("value", "base"), SUBCLASSES)
def test_a_subclass_has_the_text_of_its_base(value, base):
    assert codec.encode(value) == codec.encode(base)


def test_an_ordered_dict_keeps_the_order_that_it_shows():
    moved = OrderedDict(a=1, b=2)
    moved.move_to_end("a")
    assert list(round_trip(moved)) == ["b", "a"]


def test_a_dict_whose_items_are_elsewhere_is_refused():
    combined = CombinedMultiDict([MultiDict({"a": "1"}), MultiDict({"a": "2"})])
    with pytest.raises(EncodeError, match=r"^\[0\] is of type .*CombinedMultiDict, .* write dict\(\.\.\.\) around it"):
        codec.encode([combined])


def test_a_subclass_is_read_by_its_bases_own_functions():
    class Loud(str):
        __slots__ = ()

        def __str__(self):
            return self.upper()

    class Local(datetime):
        def isoformat(self, *args):
            return "yesterday"

    assert round_trip(Loud("a")) == "a"
    assert round_trip(Local(2030, 1, 1)) == datetime(2030, 1, 1)


def test_a_time_that_equals_nothing_is_refused_like_nan():
    """pandas' NaT is a datetime, and the year 1 for datetime's own functions."""

    class NotATime(datetime):
        __hash__ = datetime.__hash__

        def __eq__(self, other):
            return False

        def __ne__(self, other):
            return True

    assert repr(round_trip(Price("NaN"))) == "Decimal('NaN')"
    with pytest.raises(EncodeError, match=r"^\['due'\] is no point in time.* store None$"):
        codec.encode({"due": NotATime(1, 1, 1)})


# --- keys of dicts

KEYS = [
    7,
    1.5,
    True,
    None,
    "7",
    b"7",
    date(2030, 1, 1),
    datetime(2030, 1, 1, tzinfo=timezone.utc),
    time(12),
    timedelta(1),
    UUID(int=7),
    Decimal("7.5"),
    (1, ("a", None)),
    frozenset({1}),
    Markup("<b>"),
]


def test_a_dict_keeps_keys_of_every_type_that_can_be_one():
    table = {key: [number] for number, key in enumerate(KEYS)}
    assert is_exactly(round_trip({"nested": table}), {"nested": table})


@pytest.mark.parametrize("key", KEYS)
def test_a_key_comes_back_as_itself(key):
    assert is_exactly(round_trip({key: 1}), {key: 1})


def test_7_and_the_text_7_are_two_keys():
    assert round_trip({7: 2, "7": 1}) == {7: 2, "7": 1}
    assert list(round_trip({"7": 1, 7: 2, "8": 3})) == ["7", 7, "8"]


def test_a_key_of_a_subclass_or_an_enum_comes_back_as_a_value_does():
    assert is_exactly(round_trip({Text("a"): 1, Colour.RED: 2, Level.HIGH: 3}), {"a": 1, "red": 2, 3: 3})


def test_keys_that_all_come_back_as_str_look_like_any_other_dict():
    assert codec.encode({Text("a"): 1, Colour.RED: 2}) == '{"a":1,"red":2}'
    assert round_trip({Text("$set"): [1]}) == {"$set": [1]}


class Same:
    """A number that equals only itself, and is 1 for everybody else."""

    def __int__(self):
        return 1


numbers.Integral.register(Same)
FALL = datetime(2030, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1)
FALL_UTC = datetime(2030, 10, 27, 1, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize("pair", [(Colour.RED, "red"), (Same(), 1), (Same(), 1.0), (Same(), Same()), (FALL, FALL_UTC)])
def test_keys_and_members_that_would_become_one_are_refused(pair):
    assert len(set(pair)) == 2
    with pytest.raises(EncodeError, match=r"^\['a'\] has two keys that would become one"):
        codec.encode({"a": dict.fromkeys(pair, 1)})
    with pytest.raises(EncodeError, match=r"^\['a'\] has two members that would become one"):
        codec.encode({"a": set(pair)})
    with pytest.raises(EncodeError, match="would become one"):
        codec.encode({frozenset(pair): 1})


def test_other_keys_at_every_level_are_encoded_once():
    """Starting anew at each of 99 levels would take 2**99 steps."""
    value = 1
    for _ in range(99):
        value = {"a": 0, 1: value}
    assert round_trip(value) == value


# --- the order of the rules


class Rendered:
    def __html__(self):
        return "<b>"


class RenderedText(str):
    __slots__ = ()

    def __html__(self):
        return f"<i>{self}"


class RenderedDict(dict):
    def __html__(self):
        return "<table>"


class RenderedColour(enum.Enum):
    RED = 1

    def __html__(self):
        return "<red>"


@pytest.mark.parametrize(
    ("value", "markup"),
    [
        (Rendered(), Markup("<b>")),
        (RenderedText("x"), Markup("<i>x")),
        (RenderedDict(), Markup("<table>")),
        (RenderedColour.RED, Markup("<red>")),
        (Shout("<b>"), Markup("<b>")),
    ],
)
def test_what_renders_itself_comes_back_as_markup(value, markup):
    assert is_exactly(round_trip([value]), [markup])


def test_a_class_that_renders_is_no_value():
    with pytest.raises(EncodeError, match=r"is of type builtins\.type"):
        codec.encode(Rendered)


def test_an_object_whose_class_renders_is_not_rendered():
    class Meta(type):
        def __html__(cls):
            return "<class>"

    class Plain(metaclass=Meta):
        pass

    with pytest.raises(EncodeError, match="Plain"):
        codec.encode(Plain())


def test_an_object_with_a_str_is_no_text():
    class Named:
        def __str__(self):
            return "a name"

    with pytest.raises(EncodeError, match="Named"):
        codec.encode(Named())


def test_a_number_of_another_library_is_an_int_or_a_float():
    class Int:
        def __int__(self):
            return 5

    class Float:
        def __float__(self):
            return 1.5

    numbers.Integral.register(Int)
    numbers.Real.register(Float)
    assert is_exactly(round_trip([Int(), Float(), {Int(): 1}]), [5, 1.5, {5: 1}])


def test_a_fraction_is_no_float():
    with pytest.raises(EncodeError, match=r"fractions\.Fraction"):
        codec.encode(Fraction(1, 3))


def test_a_complex_number_is_refused():
    with pytest.raises(EncodeError, match=r"builtins\.complex"):
        codec.encode(1j)


def test_a_member_of_an_enum_comes_back_as_its_value():
    class Odd(enum.Enum):
        PAIR = (1, Colour.RED)

    assert is_exactly(round_trip([Colour.RED, Right.READ | Right.WRITE, Odd.PAIR]), ["red", 3, (1, "red")])


def taught(kind):
    return JSONCodec(types={kind: (lambda value: "taught", lambda content: ("loaded", content), "taught")})


@pytest.mark.parametrize(
    "value", [Rendered(), RenderedText("x"), Text("x"), Counter("a"), Level.HIGH, Size.LARGE, Same(), Colour.RED]
)
def test_a_type_that_the_app_has_taught_goes_before_every_rule_but_the_exact_types(value):
    assert taught(type(value)).encode(value) == '{"$taught":"taught"}'
    assert round_trip([value], taught(type(value))) == [("loaded", "taught")]


# --- stability

members = st.sets(
    st.one_of(st.integers(), st.text(st.characters(exclude_categories=["Cs"])), st.dates(), st.tuples(st.integers()))
)


@given(members, st.randoms())
def test_equal_sets_have_one_text_whatever_their_order(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    other = set()
    for each in shuffled:
        other.add(each)
    for kind in (set, frozenset, lambda each: {"a": [each]}, lambda each: (frozenset(each),)):
        assert codec.encode(kind(values)) == codec.encode(kind(other))


def test_the_order_of_a_dict_is_kept():
    for table in ({"b": 1, "a": 2}, {2: 1, 1: 2, "a": 3}):
        assert list(round_trip(table)) == list(table)
    assert codec.encode({"b": 1, "a": 2}) != codec.encode({"a": 2, "b": 1})


def test_nan_is_kept_or_refused_wherever_it_comes_from():
    class Float:
        def __float__(self):
            return float("inf")

    numbers.Real.register(Float)
    for value in (float("nan"), Real("nan"), Float()):
        with pytest.raises(EncodeError, match=r"^\[0\] is (nan|inf), which JSON cannot hold"):
            codec.encode([value])
    assert (
        repr(round_trip([Real("nan"), Float(), {float("nan"): 1}], JSONCodec(allow_nan=True))) == "[nan, inf, {nan: 1}]"
    )


def test_a_duration_whose_class_has_other_parts_under_the_same_names_is_the_same():
    class Duration(timedelta):
        """Negative, as Pendulum's is: with days towards zero."""

        days = property(lambda self: 99)
        seconds = property(lambda self: -5)
        microseconds = property(lambda self: 7)

    assert codec.decode(codec.encode(Duration(seconds=-1))) == timedelta(seconds=-1)


def test_a_time_whose_zone_would_be_lost_is_refused():
    class Noon(time):
        pass

    for kind in (time, Noon):
        with pytest.raises(EncodeError, match=r"^\[0\] has a time zone that tells no offset"):
            codec.encode([kind(12, tzinfo=ZoneInfo("Europe/Paris"))])
        assert round_trip([kind(12, tzinfo=timezone.utc)]) == [time(12, tzinfo=timezone.utc)]


def test_pyramids_translation_string_keeps_its_default_and_its_mapping():
    translate = pytest.importorskip("translationstring").TranslationStringFactory("site")
    assert round_trip(translate("welcome", default="Welcome ${name}", mapping={"name": "Ann"})) == "Welcome Ann"
