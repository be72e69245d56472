"""Requests, bytes and seconds of loading from the Hub: `python benchmarks/hub.py`.

The real client talks to a local Hub server (tests/hub). Each backend runs in its own process;
`benchmarks/hub.json` holds the figures and `benchmarks/hub.md` shows them.

Protocol: requests and bytes are counted by the server, for `conv-ae-bn`. Seconds are measured for
`load` by commit with a warm cache, and for building the same model without weights. The two
alternate in one process after a warm-up of each: median, lowest and highest of 15 runs.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.child import measured  # noqa: E402 (a script: its folder alone is on the path)
from benchmarks.loading import alternated, milliseconds  # noqa: E402 (as above)
from fmae_zoo._backend import BACKENDS  # noqa: E402 (as above)

RESULTS = ROOT / "benchmarks" / "hub.json"
TABLE = ROOT / "benchmarks" / "hub.md"
MODEL = "conv-ae-bn"


SUITES = ("hub_failures", "hub_hostile", "hub_push", "hub_load", "cli_hub")


def measure() -> None:
    """Print the figures of this process's backend as JSON."""
    from tests.hub import LocalHub

    with LocalHub() as hub, tempfile.TemporaryDirectory() as home:
        os.environ.update(
            HF_ENDPOINT=hub.url,
            HF_HOME=home,
            HF_HUB_DISABLE_TELEMETRY="1",
            NO_PROXY="127.0.0.1,localhost",
        )
        print(json.dumps(_figures(hub)))


def _figures(hub: Any) -> dict[str, Any]:
    import fmae_zoo
    from fmae_zoo.manifest import environment

    repo = f"zoo/{MODEL}"
    pushed = fmae_zoo.push(MODEL, repo, tag="v1", token="hf_writer")
    by_tag, by_commit = f"hf://{repo}@v1", f"hf://{repo}@{pushed.commit}"

    def asked(source: str, **options: Any) -> tuple[int, int]:
        hub.clear_log()
        fmae_zoo.load(source, pretrained=True, **options)
        content = [r for r in hub.log if r.method == "GET" and "/api/" not in r.path]
        return len(hub.log), sum(record.bytes_sent for record in content)

    with tempfile.TemporaryDirectory() as cache:
        encoder = asked(by_tag, part="encoder", cache_dir=cache)
    cold = asked(by_tag)
    warm = {"tag": asked(by_tag)[0], "commit": asked(by_commit)[0], "bundled": asked(MODEL)[0]}
    loads, builds = alternated(
        lambda: fmae_zoo.load(by_commit), lambda: fmae_zoo.load(MODEL, pretrained=False)
    )
    return {
        "model": MODEL,
        "environment": environment() | {"cores": str(os.cpu_count())},
        "requests": {"cold": cold[0], "cold_encoder": encoder[0], **warm},
        "bytes": {"whole": cold[1], "encoder": encoder[1], "repo": sum(pushed.sizes.values())},
        "seconds": {"warm_load": loads, "build": builds},
    }


def failure_cases() -> dict[str, int]:
    """Return the number of tests marked `failure` in each suite."""
    counts = {}
    for suite in SUITES:
        words = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "failure"]
        result = subprocess.run(
            [*words, f"tests/test_{suite}.py"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        counts[suite] = sum("::" in line for line in result.stdout.splitlines())
    return counts


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    some = next(iter(results["backends"].values()))
    requests, size = some["requests"], some["bytes"]
    lines = [
        f"# Loading `{some['model']}` from the Hub",
        "",
        "Written by `python benchmarks/hub.py`, whose first lines give the protocol.",
        "",
        "| load | requests |",
        "| --- | ---: |",
        f"| cold, by tag | {requests['cold']} |",
        f'| cold, by tag, `part="encoder"` | {requests["cold_encoder"]} |',
        f"| warm, by tag | {requests['tag']} |",
        f"| warm, by commit | {requests['commit']} |",
        f"| bundled | {requests['bundled']} |",
        "",
        "| downloaded | bytes |",
        "| --- | ---: |",
        f'| `part="encoder"` | {size["encoder"]:,} |',
        f"| the whole model | {size['whole']:,} |",
        f"| (all files of the repo) | {size['repo']:,} |",
        "",
        "| backend | warm load, ms | building without weights, ms | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for backend, row in results["backends"].items():
        load, build = row["seconds"]["warm_load"], row["seconds"]["build"]
        ratio = load["median"] / build["median"]
        lines.append(f"| {backend} | {milliseconds(load)} | {milliseconds(build)} | {ratio:.2f} |")
    cases = results["failure_cases"]
    lines += [
        "",
        f"Failures tested, each with its own assertion: {sum(cases.values())} "
        f"({', '.join(f'{count} in {suite}' for suite, count in cases.items())}).",
        "",
        "Measured with "
        + "; ".join(
            " ".join(f"{key} {value}" for key, value in row["environment"].items())
            for row in results["backends"].values()
        )
        + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every backend and write the results."""
    results: dict[str, Any] = {"failure_cases": failure_cases(), "backends": {}}
    for backend in BACKENDS:
        results["backends"][backend] = measured("benchmarks.hub", backend, "--measure")
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    TABLE.write_text(table(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    measure() if "--measure" in sys.argv else main()
