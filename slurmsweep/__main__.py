"""``python -m slurmsweep``: the same as the ``slurmsweep`` command."""

import sys

from slurmsweep.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
