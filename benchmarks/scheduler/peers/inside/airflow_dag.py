"""Runs in Airflow's environment: the DAG of the jobs in the JSON file beside this one, under this file's name.

Each job touches a file in the folder that a variable of the environment names.
"""

import json
import os
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

JOBS: dict[str, list[str]] = json.loads(Path(__file__).with_suffix(".json").read_text())


def nothing(file: str) -> None:
    """Running a job of a run a second time fails."""
    (Path(os.environ["PINFLOW_PEER_FILES"]) / file).touch(exist_ok=False)


def job(name: str) -> PythonOperator:
    """A job of the DAG that is being made, with a file for each of its runs."""
    file = f"{Path(__file__).stem}.{{{{ run_id }}}}.{name}"
    return PythonOperator(task_id=name, python_callable=nothing, op_args=[file])


with DAG(Path(__file__).stem, schedule=None, is_paused_upon_creation=False, max_active_tasks=2):
    jobs = {name: job(name) for name in JOBS}
    for name, before in JOBS.items():
        jobs[name].set_upstream([jobs[other] for other in before])
