"""The types that stats.thrift declares. Reading it takes a tenth of a second, so this is imported before forks."""

from pathlib import Path
from typing import Any

import thriftpy2
from thriftpy2.protocol import TBinaryProtocolFactory, TCyBinaryProtocolFactory

TYPES: Any = thriftpy2.load(str(Path(__file__).with_name("stats.thrift")), module_name="pinflow_stats_thrift")

__all__ = ["TYPES", "TBinaryProtocolFactory", "TCyBinaryProtocolFactory"]
