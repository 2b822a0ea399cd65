"""Runs one workload as a worker of Airflow does: `BaseExecutor.run_workload`, which supervises the task with the task SDK.

The workload is JSON on the standard input. The exit status is the task's.
"""

import sys

from airflow.executors.base_executor import BaseExecutor
from airflow.executors.workloads import ExecuteTask

workload = ExecuteTask.model_validate_json(sys.stdin.read())
sys.exit(BaseExecutor.run_workload(workload, subprocess_logs_to_stdout=True))
