"""The task that `supervised.py` has run. It lasts until the file in `SUPERVISED_DONE` exists."""

import os
import time

from airflow.sdk import BaseHook, Variable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowNotFoundException


@dag(schedule=None)
def orders():
    @task(retries=1)
    def ship():
        instance = get_current_context()["ti"]
        Variable.set("shipping", f"try {instance.try_number}")
        try:
            BaseHook.get_connection("warehouse")
        except AirflowNotFoundException:
            print("no connection, as expected")
        # Lines wake the supervisor, so that it sends its heartbeats when they are due.
        while not os.path.exists(os.environ["SUPERVISED_DONE"]):
            print("shipping")
            time.sleep(0.5)
        if instance.try_number == 1 and os.environ.get("SUPERVISED_FAILS"):
            raise RuntimeError("the first try fails, as it should")
        assert Variable.get("shipping") == f"try {instance.try_number}"
        return {"shipped": 3}

    ship()


orders()
