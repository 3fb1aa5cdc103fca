"""The task as it is usually written for mrjob: generators over records, pins in memory, one shuffle by domain."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import nsmallest
from typing import ClassVar

from mrjob.job import MRJob

TOP = 25
COUNT, BEST = "count", "top"


class DomainsByRecord(MRJob):
    """Of each domain the number of events of each type, and the pins with most events."""

    def configure_args(self) -> None:
        """Declare the pins, which are shipped with the job."""
        super().configure_args()
        self.add_file_arg("--pins")

    def mapper_init(self) -> None:
        """Load the domain of each pin."""
        with open(self.options.pins) as lines:  # noqa: PTH123
            self.domains = {pin["pin_id"]: pin["domain"] for pin in map(json.loads, lines)}

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, tuple[str, str]]]:
        """An event for its pin's domain."""
        event = json.loads(line)
        domain = self.domains.get(event["pin_id"])
        if domain is not None:
            yield domain, (event["event_type"], event["pin_id"])

    def reducer(self, domain: str, events: Iterable[tuple[str, str]]) -> Iterator[tuple[str, tuple[str, str, int]]]:
        """The rows of a domain."""
        types: Counter[str] = Counter()
        pins: Counter[str] = Counter()
        for event_type, pin in events:
            types[event_type] += 1
            pins[pin] += 1
        for event_type, number in types.items():
            yield domain, (COUNT, event_type, number)
        for negative, pin in nsmallest(TOP, ((-number, pin) for pin, number in pins.items())):
            yield domain, (BEST, pin, -negative)


class DomainsByRecordInLargeSplits(DomainsByRecord):
    """The same over splits that hold several blocks of HDFS."""

    HADOOP_INPUT_FORMAT: ClassVar[str] = "org.apache.hadoop.mapred.lib.CombineTextInputFormat"
    JOBCONF: ClassVar[dict[str, str]] = {
        "mapreduce.input.fileinputformat.split.maxsize": str(384 << 20),
        # with this format streaming would give each line's offset, too
        "stream.map.input.ignoreKey": "true",
    }


if __name__ == "__main__":
    DomainsByRecord.run()
