"""Alerts whose condition gives nothing while all is well, and why."""

from __future__ import annotations

__all__ = ["QUIET", "UNDECIDED"]

QUIET = {
    "StreamAlBudgetOverspent": "the budget holds",
    "StreamAlAsksNothing": "requests are made",
    "StreamAlPausedForLong": "nobody paused it",
    "StreamAlThresholdUseless": "buckets begin full",
    "StreamAlLabelsLate": "answers take seconds",
    "StreamAlQueueOverCapacity": "some hundred requests are open",
    "StreamAlNoLabels": "answers come all the time",
    "StreamAlWatermarkBehind": "requests end after seconds",
    "StreamAlEventsLag": "gates keep up",
    "StreamAlLabelsLag": "the ledger and the annotator keep up",
    "StreamAlFoldLag": "gates fold as fast as is learned",
    "StreamAlHangingTransaction": "transactions end",
    "StreamAlDeadLettersMany": "one event in some hundred is malformed",
    "StreamAlLogTrouble": "the broker is well",
    "StreamAlJobAbsent": "the job is there",
    "StreamAlNoGateReady": "gates are ready",
    "StreamAlNoLedgerReady": "the ledger is ready",
    "StreamAlReplicaDown": "all processes run",
    "StreamAlNotReady": "all roles are ready",
    "StreamAlLoopStale": "rounds end",
    "StreamAlCrashLoop": "one process was restarted once",
    "StreamAlRestoresRepeated": "partitions moved twice",
    "StreamAlFoldsDiffer": "all have one configuration",
    "StreamAlVersionsDiffer": "all have one version",
    "StreamAlSnapshotRefused": "snapshots fit",
    "StreamAlSnapshotsFail": "snapshots can be written",
    "StreamAlMemoryGrows": "it takes seven hours of data",
}
"""By alert, the reason why its condition is rightly false."""

UNDECIDED = {
    "StreamAlAccuracyBelowTarget": "the model has just begun to learn",
    "StreamAlRequestsNearExpiry": "requests expire after seconds, so some are near it",
    "StreamAlNaiveFarOff": "the model has just begun to learn",
    "StreamAlMiscalibrated": "the model has just begun to learn",
    "StreamAlSignRecall": "fraud is rare, and the stream changes half-way",
    "StreamAlSignAgreement": "annotators answer at random now and then",
    "StreamAlSignCalibration": "the model has just begun to learn",
    "StreamAlSignRandomAhead": "the model has just begun to learn",
    "StreamAlSignConcentrated": "the stream changes half-way",
    "StreamAlDrift": "the stream changes half-way",
    "StreamAlDecisionsSlow": "processors are shared",
    "StreamAlCommitsSlow": "processors are shared",
    "StreamAlAborts": "a restart aborts some",
    "StreamAlDiskLow": "it is this machine's disk",
    "StreamAlDiskFillsUp": "it is this machine's disk",
}
"""By alert, the reason why its condition may hold or not in two minutes."""
