"""Run a Hub on this computer: `python -m tests.hub`, to try pushing without an account."""

import argparse
import signal
import threading
from contextlib import suppress

from tests.hub import LocalHub


def main() -> None:
    # A shell starts what it puts in the background without it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of the Hub (default: a free one)")
    port = parser.parse_args().port
    try:
        local_hub = LocalHub(port)
    except (OSError, OverflowError) as error:
        parser.error(f"port {port}: {error}")
    with local_hub as hub, suppress(KeyboardInterrupt):
        print(f"export HF_ENDPOINT={hub.url}")
        print("export HF_TOKEN=hf_writer", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
