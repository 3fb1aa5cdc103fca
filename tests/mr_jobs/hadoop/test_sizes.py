"""How input lines are shared out to map tasks."""

from hypothesis import given
from hypothesis import strategies as st

from pinflow.mr_jobs.hadoop.sizes import TASK_BYTES, groups

LINES = st.lists(st.integers(0, 2 * TASK_BYTES), max_size=40).map(
    lambda sizes: [(f"line {number}", size) for number, size in enumerate(sizes)]
)


@given(LINES)
def test_each_line_goes_to_one_task_in_order(lines: list[tuple[str, int]]) -> None:
    found = groups(lines)
    assert [line for group in found for line in group] == [line for line, _ in lines]
    assert all(found) or found == [[]]


@given(LINES)
def test_no_task_gets_more_than_its_share_and_a_line(lines: list[tuple[str, int]]) -> None:
    sizes = dict(lines)
    largest = max(sizes.values(), default=0)
    for group in groups(lines):
        assert sum(sizes[line] for line in group) <= TASK_BYTES + largest


def test_equal_files_are_shared_evenly() -> None:
    lines = [(str(number), 120 << 20) for number in range(16)]  # three times what a task gets
    assert sorted(map(len, groups(lines))) == [5, 5, 6]
