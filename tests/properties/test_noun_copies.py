"""A copy of a noun is what pydantic's own copy is, given names and all; a noun that is made is the one validated."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from crossmargin.model.account import OpenOrder, Position
from crossmargin.model.noun import made

BTC = "BTC/USDT:USDT"
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "quantity": st.sampled_from([Decimal(1), Decimal("-0.5")]),
    "leverage": st.sampled_from([None, Decimal(7)]),
    "margin_mode": st.sampled_from(["cross", "isolated"]),
    "isolated_margin": st.sampled_from([None, Decimal(3)]),
}
SOME = st.fixed_dictionaries({}, optional=FIELDS)


@given(update=st.none() | SOME, deep=st.booleans())
def test_a_copy_is_what_pydantic_copies(update: dict[str, Any] | None, deep: bool) -> None:
    noun = Position(symbol=BTC, quantity=Decimal(2), entry_price=Decimal(100), leverage=Decimal(10))
    before = (noun.model_dump(), noun.model_fields_set.copy())
    ours = noun.model_copy(update=update, deep=deep)
    theirs = BaseModel.model_copy(noun, update=update, deep=deep)
    assert (ours, type(ours), hash(ours)) == (theirs, type(theirs), hash(theirs))
    assert ours.model_fields_set == theirs.model_fields_set
    assert ours.model_dump_json(exclude_unset=True) == theirs.model_dump_json(exclude_unset=True)
    # a copy of the copy, for its set of given names may be shared with the first
    assert BaseModel.model_copy(ours, update={"position_side": "long"}).position_side == "long"
    assert ours.model_copy(update={"position_side": "long"}).model_fields_set >= ours.model_fields_set
    assert (noun.model_dump(), noun.model_fields_set) == before


def test_a_noun_that_is_made_is_the_one_that_is_validated() -> None:
    fields: dict[str, Any] = {
        "symbol": BTC,
        "quantity": Decimal(2),
        "price": Decimal(100),
        "reduce_only": False,
        "position_side": "net",
        "leverage": None,
    }
    ours, theirs = made(OpenOrder, **fields), OpenOrder(**fields)
    assert (ours, hash(ours), repr(ours)) == (theirs, hash(theirs), repr(theirs))
    assert ours.model_fields_set == theirs.model_fields_set
    assert ours.model_dump_json() == theirs.model_dump_json()
