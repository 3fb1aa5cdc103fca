"""What conditions of workflows ask, each in a process of its own: is it there yet (AN-07).

What is not there yet is false, or an `InputMissingError` that says what was looked for; anything else that is raised
fails the condition. `pinflow.workflows.waits` declares conditions that ask these.
"""

import subprocess
from collections.abc import Sequence
from datetime import date

from pinflow import config
from pinflow.errors import ConfigurationError, InputMissingError, UnknownNameError
from pinflow.mr_jobs.inputs.discover import Source
from pinflow.storage import join, open_storage


def input_is_ready(date_text: str) -> bool:
    """Whether the day's raw input is there. Raises `InputMissingError`, saying what was looked for, when it is not."""
    source = Source.from_settings(config.load())
    source.require(date.fromisoformat(date_text))
    return True


def data_is_there(folder: str, marker: str = "", least_files: int = 1, least_bytes: int = 0) -> bool:
    """Whether a folder or prefix of any storage holds the file `marker`, or else so many files and bytes in all.

    A listing is read only as far as it takes to know: of a large prefix in S3, one page of 1,000 may do.
    """
    storage = open_storage(folder)
    if marker:
        return storage.exists(join(folder, marker))
    files = size = 0
    for entry in storage.walk(folder):
        files += 1
        size += entry.size
        if files >= least_files and size >= least_bytes:
            return True
    return files >= least_files and size >= least_bytes


def dataset_is_published(dataset: str, date_text: str) -> bool:
    """Whether a day of a dataset is published in the warehouse."""
    from pinflow.mr_jobs.datasets import Warehouse

    if Warehouse(config.load().warehouse_url).current(dataset, date_text) is None:
        raise InputMissingError(f"{dataset} of {date_text} is not published")
    return True


def run_has_finished(workflow: str, date_text: str, states: Sequence[str] = ("succeeded",)) -> bool:
    """Whether the newest run of a workflow's day has ended in one of these states."""
    from pinflow.database import fetch, open_database
    from pinflow.scheduler.schedule_statements import NEWEST_RUN

    engine = open_database(config.load().database_url)
    found = fetch(engine, NEWEST_RUN, {"b_workflow": workflow, "b_date": date_text})
    state = found[0].state if found else "not there"
    if state not in states:
        raise InputMissingError(f"the run of {workflow} {date_text} is {state}, not {' or '.join(states)}")
    return True


def query_gives(query: str, connection: str = "") -> bool:
    """Whether the first value that a query gives is true: no row, NULL, zero and an empty text are not.

    `connection` is a name of the setting `connections`; empty: pinflow's own database. Nothing is changed: what the
    query does is rolled back.
    """
    import sqlalchemy as sa

    from pinflow.database import open_database

    settings = config.load()
    if not connection:
        engine = open_database(settings.database_url)
    elif connection in settings.connections:
        engine = sa.create_engine(settings.connections[connection])
    else:
        raise UnknownNameError("connection", connection, settings.connections, "pinflow doctor")
    with engine.connect() as opened:
        row = opened.execute(sa.text(query)).first()
        opened.rollback()
    if row is None or not row[0]:
        raise InputMissingError(f"the query gives {'no row' if row is None else repr(row[0])}")
    return True


def command_succeeds(argv: Sequence[str], seconds: float = 60.0) -> bool:
    """Whether a program, started without a shell, ends with exit code 0; with any other it is not there yet."""
    try:
        code = subprocess.run(list(argv), check=False, timeout=seconds, stdin=subprocess.DEVNULL).returncode
    except subprocess.TimeoutExpired:
        raise InputMissingError(f"{argv[0]} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise ConfigurationError(f"cannot start {argv[0]!r}: {error}") from error
    if code:
        raise InputMissingError(f"{argv[0]} ended with exit code {code}")
    return True
