"""What a commit does in every combination of what can be known of a request, and the table in docs/commit.md."""

import re
from itertools import product
from pathlib import Path

import pytest

from wsgisessions.decision import Asked, Change, Decision, Known, Result, Step, decide
from wsgisessions.states import Ending, Phase, Presented, RequestState

GUIDE = (Path(__file__).parent.parent / "docs" / "commit.md").read_text(encoding="utf-8")


def is_reachable(known):
    """Tell what the code around the decision can make of a request."""
    if known.state is RequestState.UNLOADED:
        # What was asked has been looked for by then.
        return known.ending is Ending.NOTHING and known.change is Change.UNCHANGED and known.asked is Asked.NOTHING
    if known.is_touch_due and (known.state is not RequestState.STORED or known.change is not Change.UNCHANGED):
        return False
    if known.state is RequestState.GONE and (
        known.ending is not Ending.NOTHING or known.presented is Presented.NOTHING
    ):
        return False
    if known.ending is not Ending.NOTHING and (
        known.state is not RequestState.NEW or known.presented is Presented.NOTHING
    ):
        return False
    if known.result is not Result.SUCCEEDED and (
        known.change is not Change.UNCHANGED
        or known.ending is Ending.CLEARED
        or known.asked not in (Asked.NOTHING, Asked.NEW_ID)
    ):
        return False
    if known.result is Result.RAISED and known.asked is not Asked.NOTHING:
        return False
    if known.phase is not Phase.WAITING and known.asked is not Asked.NOTHING:
        return False  # refused in the line that asks
    if known.phase is not Phase.WAITING and known.result is Result.FAILED:
        return False
    if known.state in (RequestState.STORED, RequestState.MOVED) and known.presented is not Presented.WELL_FORMED:
        return False
    return known.change is not Change.EMPTIED or not (
        known.state in (RequestState.NEW, RequestState.GONE) or known.asked is Asked.LOGIN
    )


KINDS = (
    RequestState,
    Presented,
    Ending,
    Change,
    Asked,
    Result,
    (Phase.WAITING, Phase.SENT, Phase.ENDED),
    (False, True),
)
EVERY = [known for known in (Known(*facts) for facts in product(*KINDS)) if is_reachable(known)]


def rows(heading):
    section = GUIDE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in re.findall(r"^\|.*\|$", section, re.MULTILINE)
    ]
    return [[cell.strip() for cell in row] for row in cells[2:]]


def test_the_guide_shows_every_decision_as_it_is_made():
    made = {decide(known) for known in EVERY}
    expected = [
        [f"`{each.name}`", ", ".join(step.value for step in each.steps) or "none", each.headers]
        for each in Decision
        if each in made
    ]
    assert rows("The decision") == expected


def test_every_decision_can_be_reached():
    assert {decide(known) for known in EVERY} == set(Decision)


WRITES = {Step.CREATE, Step.UPDATE, Step.RENAME}


@pytest.mark.parametrize("known", EVERY, ids=range(len(EVERY)))
def test_what_holds_for_every_decision(known):
    steps = decide(known).steps
    is_asked = known.change is not Change.UNCHANGED or known.asked is not Asked.NOTHING
    if known.result is not Result.SUCCEEDED:
        assert not {Step.CREATE, Step.UPDATE, Step.TOUCH} & set(steps)
    if known.state is RequestState.UNLOADED:
        assert steps == ()
    if known.ending is Ending.FLUSHED:
        assert Step.DELETE in steps
    if not is_asked:
        assert not WRITES & set(steps)
    if known.state is RequestState.MOVED:
        assert Step.UPDATE not in steps
        assert Step.RENAME not in steps
    if known.state is RequestState.GONE:
        assert steps == ()
    if known.phase is not Phase.WAITING:
        assert not {Step.CREATE, Step.RENAME} & set(steps)
    if Step.RENAME in steps:
        assert steps[0] is Step.LEAVE_MARK
    if Step.LEAVE_MARK in steps:
        assert known.presented is Presented.WELL_FORMED
