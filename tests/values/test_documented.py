"""The table in docs/sessions.md: each row goes in, and comes back as it says."""

import enum
from collections import Counter, OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from markupsafe import Markup
from werkzeug.datastructures import ImmutableMultiDict

from wsgisessions import JSONCodec

SESSIONS = (Path(__file__).parents[2] / "docs" / "sessions.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")][1:]
    for line in SESSIONS.partition("| rule |")[2].partition("\n\n")[0].splitlines()[2:]
]


class Size(str, enum.Enum):
    LARGE = "large"


class Level(enum.IntEnum):
    HIGH = 3


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Money:
    cents: int


class Badge:
    def __init__(self, text):
        self.text = text

    def __html__(self):
        return f"<b>{self.text}</b>"


NAMES = {
    **{
        each.__name__: each
        for each in (Badge, Colour, Counter, ImmutableMultiDict, Level, Markup, Money, OrderedDict, Size)
    },
    **{each.__name__: each for each in (ZoneInfo, datetime, timedelta, timezone)},
    "Point": namedtuple("Point", "x y"),
}
LIBRARIES = {"numpy": "numpy", "lazy_gettext": "flask_babel"}


@pytest.mark.parametrize(("goes_in", "comes_back"), ROWS)
def test_what_goes_in_comes_back_as_the_table_says(goes_in, comes_back):
    names = dict(NAMES)
    for name, library in LIBRARIES.items():
        if name in goes_in:
            module = pytest.importorskip(library)
            names[name] = getattr(module, name, module)
    codec = JSONCodec(types={Money: (lambda money: money.cents, Money)})
    value, expected = eval(goes_in, names), eval(comes_back, names)  # noqa: S307 -- our own table
    back = codec.decode(codec.encode(value))
    assert back == expected
    assert type(back) is type(expected)
    assert repr(back) == repr(expected)


def test_the_table_has_a_row_for_each_rule():
    assert len(ROWS) == 14
