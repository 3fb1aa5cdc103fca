"""What a job on a cluster needs beside what every job needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = "_hadoop"
"""Folder of the warehouse for archives and for what running jobs need; readers skip its name."""

ENVIRONMENT, JOBS = "environment", "jobs"
"""Its folders: archives, and one for each job that runs."""


@dataclass(frozen=True)
class Cluster:
    """What a job on a cluster needs beside its `JobSpec`.

    `folder` is a URL in the cluster's file system, `cache` a folder of this machine for archives. `name` is that of the
    attempt, and starts with `run`, which all attempts of this job in this run have in common. `modules` are packed
    beside the job's own, `files` are files of this machine by the name under which a task finds them.
    """

    folder: str
    cache: Path
    name: str
    run: str
    modules: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
