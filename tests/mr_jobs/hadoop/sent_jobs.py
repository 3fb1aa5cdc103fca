"""The sample jobs as modules of their own: only they travel to the nodes, not all tests with what these import."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SAMPLE, OWN = "sample_jobs_of_test", "jobs_on_hadoop_of_test"


def make_importable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put copies of `sample_jobs` and `jobs_on_hadoop` into a folder of the import path."""
    (folder / f"{SAMPLE}.py").write_text((HERE.parent / "sample_jobs.py").read_text())
    text = (HERE / "jobs_on_hadoop.py").read_text().replace("tests.mr_jobs.sample_jobs", SAMPLE)
    (folder / f"{OWN}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    for name in (SAMPLE, OWN):
        sys.modules.pop(name, None)
