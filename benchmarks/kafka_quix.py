"""Quix Streams passing events through exactly once: JSON is decoded and encoded, no model.

Runs in a virtual environment of its own, which `environment` makes.
"""

from __future__ import annotations

import sys

from quixstreams import Application  # type: ignore[import-not-found, unused-ignore]


def main(brokers: str, events: str, out: str, commit_every: int) -> None:
    """Pass events through until told to stop.

    Parameters
    ----------
    commit_every
        Events in a transaction; 0: as many as its default interval of 5 s brings.
    """
    application = Application(
        broker_address=brokers,
        consumer_group=out,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_every=commit_every,
        auto_create_topics=False,
        use_changelog_topics=False,
        loglevel="WARNING",
    )
    source = application.topic(events, value_deserializer="json")
    sink = application.topic(out, value_serializer="json")
    application.dataframe(source).to_topic(sink)
    application.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
