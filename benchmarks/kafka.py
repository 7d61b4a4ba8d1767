"""Starts `kafka_program`, which see; it is no module itself, since kafka-python has the name."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    # This folder is searched last, so that `import kafka` does not find this file.
    sys.path.append(sys.path.pop(0))
    runpy.run_module("kafka_program", run_name="__main__")
