"""Login-node actions: submit, resubmit, reconcile, and the local backend."""
