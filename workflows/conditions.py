"""Conditions of workflows: what must be there before jobs start (AN-07)."""

from datetime import date

from pinflow import config
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
