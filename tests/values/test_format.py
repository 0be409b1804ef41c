"""The stored format, version 1: texts that were recorded once are read for ever, and are still written so."""

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from markupsafe import Markup

from wsgisessions import JSONCodec
from wsgisessions.tags import CONTAINER_TAGS, LOADERS


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self):
        return hash(self.cents)


codec = JSONCodec(types={Money: (lambda money: money.cents, Money)}, allow_nan=True)

RECORDED = {
    "null": None,
    "true": True,
    "-5": -5,
    "1267650600228229401496703205376": 2**100,
    "1.5": 1.5,
    "-0.0": -0.0,
    "1e300": 1e300,
    '"caf\u00e9 \\u0000 \\" \\\\"': 'caf\u00e9 \0 " \\',
    '[1,["a"]]': [1, ["a"]],
    '{"b":1,"a":{}}': {"b": 1, "a": {}},
    '{"$datetime":"2030-01-02T03:04:05.000006"}': datetime(2030, 1, 2, 3, 4, 5, 6),
    '{"$datetime":"2030-01-02T03:04:05+02:30"}': datetime(
        2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2, minutes=30))
    ),
    '{"$date":"2030-01-02"}': date(2030, 1, 2),
    '{"$time":"03:04:00"}': time(3, 4),
    '{"$timedelta":[-1,86399,999997]}': timedelta(microseconds=-3),
    '{"$UUID":"00000000-0000-0000-0000-000000000005"}': UUID(int=5),
    '{"$Decimal":"1.10"}': Decimal("1.10"),
    '{"$bytes":"AP8="}': b"\x00\xff",
    '{"$Markup":"<b>"}': Markup("<b>"),
    '{"$float":"inf"}': float("inf"),
    '{"$tuple":[1,{"$tuple":[]}]}': (1, ()),
    '{"$set":["a",1,null]}': {None, 1, "a"},
    '{"$frozenset":[{"$tuple":[1]}]}': frozenset({(1,)}),
    '{"$items":[["7",1],[7,2],[null,3],[{"$date":"2030-01-02"},4]]}': {"7": 1, 7: 2, None: 3, date(2030, 1, 2): 4},
    '{"$dict":{"$set":[1]}}': {"$set": [1]},
    '{"$dict":{"$dict":{"$dict":{"$a":1}}}}': {"$dict": {"$a": 1}},
    '{"$a":1,"$b":2}': {"$a": 1, "$b": 2},
    '{"$Money":5}': Money(5),
    '{"a":[{"$items":[[{"$Money":5},{"$dict":{"$x":{"$tuple":[1]}}}]]}]}': {"a": [{Money(5): {"$x": (1,)}}]},
}


@pytest.mark.parametrize(("text", "value"), RECORDED.items())
def test_a_recorded_text_is_read(text, value):
    back = codec.decode(text)
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value) or isinstance(value, (set, Money)) or "Money" in text


@pytest.mark.parametrize(("text", "value"), RECORDED.items())
def test_a_value_is_written_as_it_was_recorded(text, value):
    """A text that changes makes every session of a live site look changed, and is another version of the format."""
    assert codec.encode(value) == text


def test_every_tag_is_recorded_and_described():
    stores = (Path(__file__).parents[2] / "docs" / "stores.md").read_text(encoding="utf-8")
    for tag in {*LOADERS, *CONTAINER_TAGS}:
        assert any(f'"{tag}"' in text for text in RECORDED), tag
        assert f'`{{"{tag}": ' in stores, tag
