"""Run a Hub on this computer: `python -m tests.hub`, to try pushing without an account."""

import argparse
import threading
from contextlib import suppress

from tests.hub import LocalHub


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of the Hub (default: a free one)")
    with LocalHub(parser.parse_args().port) as hub, suppress(KeyboardInterrupt):
        print(f"export HF_ENDPOINT={hub.url}")
        print("export HF_TOKEN=hf_writer", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
