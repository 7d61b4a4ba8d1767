"""How large records are, and the bound that spares looking at each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumers.log import Out
from consumers.sizes import pieces, size_of

CONTENT = st.none() | st.binary(max_size=40)
HEADERS = st.lists(st.tuples(st.text(max_size=8), CONTENT), max_size=5).map(tuple)
OUTS = st.lists(st.builds(Out, st.just("t"), CONTENT, CONTENT, HEADERS), max_size=80)


@given(OUTS)
def test_no_piece_takes_more_than_its_bound(outs: list[Out]) -> None:
    """The bound covers all contents of a piece and what a log adds, and no record is left out."""
    cut = list(pieces(outs))
    assert [out for piece, _ in cut for out in piece] == outs
    for piece, most in cut:
        added = sum(100 + 10 * len(out.headers) for out in piece)
        assert sum(map(size_of, piece)) + added <= most


def test_large_records_stand_alone() -> None:
    """A piece of several records takes at most 1 MiB; what is larger is looked at by itself."""
    outs = [Out("t", b"x" * 400_000) for _ in range(3)]
    assert [len(piece) for piece, _ in pieces(outs)] == [1, 1, 1]
    assert all(most > 200_000 for _, most in pieces(outs))
