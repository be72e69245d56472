"""`python -m fmae_zoo.cluster.program MODULE ...` runs a module and ends with its parent process.

The parent keeps the other end of the pipe that is this process' stdin. However the parent ends, the
pipe is then closed, and no training goes on that nobody waits for.
"""

import os
import runpy
import sys
import threading


def main() -> None:
    """Run the module that is named by the first argument, with the others."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
