"""For training scripts of tests that are killed: wait until wandb has written what was logged, however long that takes."""

from __future__ import annotations

#: Text for a script: it defines a function that returns once its run file has so many rows, and these summary values.
WAIT_UNTIL_WRITTEN = """
def wait_until_written(rows, *summary):
    import glob, os, time
    from slurmsweep.metrics import run_file
    [file] = glob.glob(os.path.join(os.environ["WANDB_DIR"], "wandb", "offline-run-*", "*.wandb"))
    while len((run := run_file.read(file)).history) < rows or not set(summary) <= set(run.summary):
        time.sleep(0.02)
"""
