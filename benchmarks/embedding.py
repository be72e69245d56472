"""Speed and memory of encoding a million images from disk.

The images of the data set are repeated in one uint8 `.npy` file. The function behind `fmae embed`
writes their codes; its memory is read after 10 %, 50 % and all of the images. For comparison,
`Autoencoder.encode` encodes an array in memory. Each backend runs in its own process.

Resident memory includes pages of the mapped file while the system has room for them; anonymous
memory is the part that the process needs.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import answer, measured
from benchmarks.machine import host, peak_mib, resident_mib
from benchmarks.markdown import described, machines_of, table
from benchmarks.results import RESULTS, write_json
from benchmarks.shape import SHAPE
from fmae_zoo.datasets import load_data
from fmae_zoo.files import write_text
from fmae_zoo.images import ImageFiles

COUNT = 1_000_000
IN_MEMORY = 50_000
BATCH_SIZE = 500
REPEATS = 3
SHARES = (0.1, 0.5, 1.0)


def run(
    entries: Sequence[str], backends: Sequence[str], count: int = COUNT, folder: Path = RESULTS
) -> None:
    """Measure, and write `embedding.json` and `embedding.md`.

    The file's rows of other entries and backends are kept if they have the same number of images.
    """
    path = folder / "embedding.json"
    old = json.loads(path.read_text()) if path.exists() else {"images": count, "rows": []}
    kept = old["rows"] if old["images"] == count else []
    rows = {(row["entry"], row["environment"]["backend"]): row for row in kept}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "images.npy"
        write_images(source, count)
        for entry, backend in product(entries, backends):
            row = measured("benchmarks.embedding", backend, entry, source)
            rows[entry, backend] = row | {"machine": host()}
    results = {"images": count, "rows": list(rows.values())}
    write_json(results, path)
    write_text(folder / "embedding.md", markdown(results))


def write_images(path: Path, count: int) -> None:
    """Write `count` images to a `.npy` file, uint8 `(count, 28, 28)`."""
    data = load_data()
    images = np.concatenate([data.train_images, data.test_images])
    file = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *images.shape[1:]))
    for start in range(0, count, len(images)):
        part = file[start : start + len(images)]
        part[:] = images[: len(part)]
    file.flush()


class Watched(ImageFiles):
    """Batches of images from files that record memory when a share of them has been read."""

    def watch(self, count: int) -> "Watched":
        """Set the total number of images, clear the recorded memory, and return self."""
        self.count = count
        self.memory: dict[str, dict[str, float]] = {}
        return self

    def __iter__(self) -> Iterator[tuple[list[str], np.ndarray]]:
        done = 0
        for names, images in super().__iter__():
            yield names, images
            done += len(images)
            for share in SHARES:
                label = f"{share:.0%}"
                if done >= share * self.count and label not in self.memory:
                    self.memory[label] = resident_mib()


def measure(entry: str, source: str) -> dict[str, Any]:
    """Return speed and memory of one entry on this process's backend."""
    import fmae_zoo
    from fmae_zoo.embedding import embed_files
    from fmae_zoo.manifest import environment

    model = fmae_zoo.load(entry, pretrained=True)
    images = np.load(source, mmap_mode="r")
    count, few = len(images), min(len(images), IN_MEMORY)
    model.encode(images[:BATCH_SIZE], BATCH_SIZE)
    before = resident_mib()
    files = Watched([Path(source)], SHAPE, BATCH_SIZE).watch(count)
    start = time.perf_counter()
    written = embed_files(model.encoder, files, Path(source).with_name("codes.npz"))
    from_disk = written / (time.perf_counter() - start)
    peak = peak_mib()
    in_memory = np.array(images[:few])
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        model.encode(in_memory, BATCH_SIZE)
        seconds.append(time.perf_counter() - start)
    speed = few / statistics.median(seconds)
    return {
        "entry": entry,
        "environment": environment(),
        "images": written,
        "images_per_second": from_disk,
        "in_memory_images": few,
        "in_memory_images_per_second": speed,
        "ratio": from_disk / speed,
        "memory": {"before": before} | files.memory,
        "peak_memory_mib": peak,
    }


def markdown(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    labels = list(results["rows"][0]["memory"])
    rows = [
        [
            f"`{row['entry']}`",
            row["environment"]["backend"],
            f"{row['images_per_second']:,.0f}",
            f"{row['in_memory_images_per_second']:,.0f}",
            f"{row['ratio']:.2f}",
            *(_cell(row["memory"][label]) for label in labels),
            f"{row['peak_memory_mib']:,.0f}",
        ]
        for row in results["rows"]
    ]
    columns = (
        "entry",
        "backend",
        "from disk, images/s",
        "in memory, images/s",
        "ratio",
        *labels,
        "peak",
    )
    environments = {row["environment"]["backend"]: row["environment"] for row in results["rows"]}
    lines = [
        f"# {results['images']:,} images from disk",
        "",
        "Written by `python -m benchmarks embed`; the first lines of `benchmarks/embedding.py` "
        "give the protocol. Memory in MiB, resident and of it anonymous, before and after a share "
        "of the images; the peak is resident.",
        "",
        *table(columns, rows, numbers_from=2),
        "",
        f"Measured on {machines_of(results['rows'])} with {described(environments)}.",
    ]
    return "\n".join(lines) + "\n"


def _cell(memory: dict[str, float]) -> str:
    return f"{memory['resident_mib']:,.0f}, {memory['anonymous_mib']:,.0f}"


if __name__ == "__main__":
    answer(measure)
