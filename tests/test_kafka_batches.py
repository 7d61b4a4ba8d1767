"""Records encoded for kafka-python are what kafka-python itself would have encoded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder

from consumers.kafka.batches import encode_record
from consumers.log import Headers

_blobs = (
    st.none() | st.binary(max_size=300) | st.sampled_from([b"x" * 63, b"x" * 64, b"x" * 70_000])
)
_headers = st.lists(st.tuples(st.text(max_size=40), _blobs), max_size=5).map(tuple)


@given(st.sampled_from([0, 1, 63, 64, 8191, 8192, 100_000]), _blobs, _blobs, _headers)
def test_a_record_is_encoded_as_kafka_python_does(
    number: int, key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    """Any record at any place of a batch has the same bytes as kafka-python's own."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 30)
    builder.append(number, 1_700_000_000_000, key, value, list(headers))
    begin = builder.header_size_in_bytes()
    assert encode_record(number, key, value, headers) == bytes(builder._buffer[begin:])
