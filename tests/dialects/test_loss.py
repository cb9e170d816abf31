"""A loss in words, and which losses make a copy less than whole."""

from __future__ import annotations

from holdall.dialects.loss import Loss, Why
from holdall.model import Kind, SourceId


def test_a_loss_reads_as_a_sentence() -> None:
    loss = Loss(why=Why.AS_TEXT, kind=Kind.FILE, id=SourceId("f1"), name="a.pdf", text="as text")
    assert str(loss) == "file a.pdf (f1): as text"
    store = Loss(why=Why.LEFT_OUT, kind=Kind.STORE, id=SourceId("v1"), field="x.y", text="gone")
    assert str(store) == "vector store v1: x.y: gone"


def test_text_in_place_of_bytes_is_worth_saying_but_does_not_make_a_copy_partial() -> None:
    assert {why for why in Why if why.weighs} == {
        Why.TRUNCATED,
        Why.LEFT_OUT,
        Why.REFUSED,
        Why.UNCERTAIN,
        Why.NOT_INDEXED,
    }
