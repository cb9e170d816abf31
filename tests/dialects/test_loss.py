"""A loss in words, and how much each of them weighs."""

from __future__ import annotations

from holdall.dialects.loss import Loss, Severity, Why
from holdall.model import Kind, SourceId


def test_a_loss_reads_as_a_sentence() -> None:
    loss = Loss(why=Why.AS_TEXT, kind=Kind.FILE, id=SourceId("f1"), name="a.pdf", text="as text")
    assert str(loss) == "file a.pdf (f1): as text"
    store = Loss(why=Why.LEFT_OUT, kind=Kind.STORE, id=SourceId("v1"), field="x.y", text="gone")
    assert str(store) == "vector store v1: x.y: gone"


def test_text_in_place_of_bytes_is_worth_saying_but_does_not_make_a_copy_partial() -> None:
    assert {why for why in Why if why.weighs} == {
        Why.UNKNOWN_TOOL,
        Why.TRUNCATED,
        Why.JOINED_DOUBTFULLY,
        Why.LEFT_OUT,
        Why.LEFT_ALONE,
        Why.NOT_KEPT,
        Why.REFUSED,
        Why.UNCERTAIN,
        Why.NOT_INDEXED,
        Why.SECRET,
        Why.NO_CONNECTION,
        Why.NEVER_SHOWN,
    }


def test_what_was_asked_for_and_what_is_ours_is_no_loss_of_the_source() -> None:
    assert {why for why in Why if why.severity is Severity.NOTE} == {
        Why.BESIDE,
        Why.MODEL_MAPPED,
        Why.KEPT,
        Why.MARKS_REPLACED,
        Why.MARKS_LEFT_OUT,
        Why.FAILED_AS_BEFORE,
        Why.NAME_CHANGED,
    }
