"""The types that an app teaches: `JSONCodec(types={Money: (to_json, from_json)})`."""

import abc
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

import pytest
from markupsafe import Markup

from wsgisessions import ConfigurationError, DecodeError, EncodeError, JSONCodec, MemoryStore, SessionManager


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


class Tip(Money):
    pass


def parts(money):
    return [money.amount, money.currency]


def of_parts(content):
    return Money(*content)


PAIR = (parts, of_parts)
codec = JSONCodec(types={Money: PAIR})
FIVE = Money(Decimal(5))


def test_a_taught_type_comes_back_as_itself_in_any_place():
    value = {"price": FIVE, "all": [(FIVE,), {FIVE}, {FIVE: FIVE}]}
    assert codec.decode(codec.encode(value)) == value


def test_a_taught_type_with_much_inside_comes_back():
    class Table:
        def __init__(self, rows):
            self.rows = rows

    taught = JSONCodec(types={Table: (lambda table: table.rows, Table)})
    rows = [[number] for number in range(500)]
    assert taught.decode(taught.encode(Table(rows))).rows == rows


def test_its_tag_is_the_qualified_name_of_the_class_or_the_given_one():
    class Inner:
        pass

    pair = (lambda value: None, lambda content: Inner())
    assert JSONCodec(types={Inner: pair}).encode(Inner()) == f'{{"${Inner.__qualname__}":null}}'
    assert JSONCodec(types={Inner: (*pair, "inner")}).encode(Inner()) == '{"$inner":null}'
    assert JSONCodec(types={Inner: (*pair, "$inner")}).encode(Inner()) == '{"$inner":null}'


def test_a_subclass_comes_back_as_the_taught_base_unless_it_is_taught_itself():
    tip = Tip(Decimal(1))
    assert type(codec.decode(codec.encode(tip))) is Money
    both = JSONCodec(types={Money: PAIR, Tip: (parts, lambda content: Tip(*content))})
    assert type(both.decode(both.encode(tip))) is Tip
    assert type(both.decode(both.encode(FIVE))) is Money


def test_an_abstract_base_class_teaches_what_is_registered_with_it():
    class Shape(abc.ABC):  # noqa: B024 -- classes are registered with it
        pass

    class Square:
        pass

    Shape.register(Square)
    taught = JSONCodec(types={Shape: (lambda shape: type(shape).__name__, str, "shape")})
    assert taught.encode([Square()]) == '[{"$shape":"Square"}]'


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({Money: (*PAIR, "m"), Tip: (*PAIR, "m")}, r"two types of the tag '\$m'; give one another"),
        ({Money: (*PAIR, "datetime")}, r"the tag '\$datetime' of Money is the package's own"),
        ({Money: (*PAIR, "$dict")}, r"the tag '\$dict' of Money is the package's own"),
        ({type("tuple", (), {}): PAIR}, r"the tag '\$tuple' of tuple is the package's own"),
        ({Money: (*PAIR, "items")}, "the package's own"),
        ({Money: (parts, None)}, r"\(to_json, from_json\).* for Money"),
        ({Money: ("parts", of_parts)}, r"\(to_json, from_json\).* for Money"),
        ({Money: parts}, r"\(to_json, from_json\).* for Money"),
        ({Money: (parts,)}, r"\(to_json, from_json\).* for Money"),
        ({Money: (*PAIR, "")}, "the tag of Money is a str"),
        ({Money: (*PAIR, 5)}, "the tag of Money is a str; got int"),
        ({"Money": PAIR}, "classes as its keys; got str"),
        ({datetime: PAIR}, "datetime is kept as it is"),
        ({bool: PAIR}, "bool is kept as it is"),
        ({Markup: PAIR}, "Markup is kept as it is"),
    ],
)
def test_what_is_wrong_is_refused_when_the_codec_is_made(types, message):
    with pytest.raises(ConfigurationError, match=message):
        JSONCodec(types=types)


def test_a_function_that_returns_what_cannot_be_kept_is_refused_with_the_path():
    class Odd:
        pass

    endless = JSONCodec(types={Odd: (lambda odd: odd, lambda content: Odd())})
    with pytest.raises(EncodeError, match=r"^\['a'\]\[0\] is nested deeper than 100 levels"):
        endless.encode({"a": [Odd()]})
    object_inside = JSONCodec(types={Odd: (lambda odd: {"b": object()}, lambda content: Odd())})
    with pytest.raises(EncodeError, match=r"^\['a'\]\[0\]\['b'\] is of type builtins\.object"):
        object_inside.encode({"a": [Odd()]})


SECRET = "a secret"


def fail(*args):
    raise LookupError(SECRET)


def test_a_function_that_raises_is_named_without_what_it_says():
    failing = JSONCodec(types={Money: (fail, of_parts)})
    with pytest.raises(
        EncodeError, match=r"^\['a'\] is of type .*\.Money, whose to_json raised LookupError$"
    ) as raised:
        failing.encode({"a": FIVE})
    assert raised.value.__cause__ is None
    text = codec.encode(FIVE)
    with pytest.raises(DecodeError, match=r"the from_json of the tag '\$Money' raised LookupError$") as raised:
        JSONCodec(types={Money: (parts, fail)}).decode(text)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_a_key_that_would_not_come_back_as_a_key_is_refused():
    taught = JSONCodec(types={Money: (parts, list)})
    for value in ({FIVE}, {FIVE: 1}, {(FIVE,): 1}):
        with pytest.raises(EncodeError, match="cannot be hashed"):
            taught.encode(value)
    failing = JSONCodec(types={Money: (parts, fail)})
    with pytest.raises(EncodeError, match="would not come back: the from_json of the tag"):
        failing.encode({FIVE})


def test_two_keys_that_the_app_makes_one_are_refused():
    cents = JSONCodec(types={Money: (lambda money: int(money.amount), lambda content: Money(Decimal(content)))})
    with pytest.raises(EncodeError, match="two keys that would become one"):
        cents.encode({Money(Decimal("1.1")): 1, Money(Decimal("1.2")): 2})


def test_a_tag_that_the_app_has_dropped_spoils_its_own_key_only():
    store = MemoryStore()
    session = SessionManager(store, codec=codec).open()
    session.update(price=[Money(Decimal(5), SECRET)], name="ann")
    session.save()
    later = SessionManager(store).open(session.id)
    assert later["name"] == "ann"
    with pytest.raises(
        DecodeError, match=r"session key 'price': .* the tag '\$Money', which this codec does not know"
    ) as raised:
        later["price"]
    assert SECRET not in str(raised.value)
    later["price"] = 5
    later.save()
    assert dict(SessionManager(store).open(session.id)) == {"price": 5, "name": "ann"}


def test_a_taught_type_is_read_as_its_type_and_nothing_else_is():
    text = codec.encode({"a": [FIVE]})
    assert codec.decode(text, dict[str, list[Money]]) == {"a": [FIVE]}

    class Price:
        pass

    both = JSONCodec(types={Price: (lambda price: 1, lambda content: Price())})
    assert type(both.decode(both.encode(Price()), Price)) is Price
    for other in ("1", 1, {"$Price": 1}, date(2030, 1, 1)):
        with pytest.raises(DecodeError, match="the stored value is no Price"):
            both.decode(both.encode(other), Price)


def test_a_taught_dataclass_in_a_bucket_goes_by_what_the_app_has_taught():
    @dataclass
    class Cart:
        total: Money = FIVE

    session = SessionManager(MemoryStore(), codec=codec).open()
    session.bucket(Cart).total = Money(Decimal(7))
    assert session[Cart.__qualname__] == {"total": Money(Decimal(7))}


def test_a_protocol_is_refused_when_the_codec_is_made():
    class Named(Protocol):
        name: str

    with pytest.raises(ConfigurationError, match="Named is a Protocol"):
        JSONCodec(types={Named: (str, str)})
