"""The ``delete`` command: ``rerun`` by the name of W&B's recipe, which is to delete runs of a grid."""

from slurmsweep.cli.commands.rerun import add_arguments, run

__all__ = ["EXAMPLES", "EXIT_CODES", "HELP", "add_arguments", "run"]

HELP = "the same as `rerun`, by W&B's name: nothing is removed"
EXAMPLES = (
    ("delete last --trials 0,3-5", "these points are run again"),
    ("delete last -s failed --dry-run", "say which trials failed"),
)
EXIT_CODES = {3: "", 5: ""}
