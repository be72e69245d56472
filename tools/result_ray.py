"""`docs/SCALING.md`: how to use several machines, and what `measure_ray.py` has measured."""

import json
from pathlib import Path

from fmae_zoo.card.markup import table

ROOT = Path(__file__).parent.parent
MEASURED = ROOT / "registry" / "ray.json"
SCALING = ROOT / "docs" / "SCALING.md"

BILLION = 1_000_000_000
MACHINES = (1, 10, 100)
CORES = 32
"""Cores of one machine in the calculation."""
CORE_HOUR = 0.05
"""Price of one core for one hour in US dollars: an assumption, not a measurement."""

USE = """# More than one machine

`pip install "fmae-zoo[ray,torch]"` (or another backend) on every machine, in the same version of
Python, Ray and this package. Start Ray on one, and have the others join it:

```
ray start --head                        # on the first machine; it prints its address
ray start --address FIRST:6379          # on each of the others
```

Then run these on any of them. Without `--address`, Ray runs on this machine alone.

```
fmae train --all --seeds 5 --engine ray --address auto
fmae train dense-ae --seeds 20 --cpus 4 --engine ray --address auto
fmae sweep dense-vae --set latent.size=8,16,32 --engine ray --address auto
fmae embed conv-ae-bn /shared/photos -o /shared/codes.parquet --engine ray --address auto
```

Ray has no authentication of its own: whoever reaches its ports can run programs on the machines.
Keep them in a private network.

**Trainings.** Each is a task that asks for `--cpus` CPUs and `--gpus` GPUs. As many run at once
as the machines have, or `--jobs`. The spec goes to the machine with the task, and so do the files
of `--data PATH`, which have to fit in memory. A data set that is named (`fashion-mnist`) must be
on each machine, or be there for it to download; if it is not, the training fails and says so. The
checkpoint, the history and the log come back every two seconds if they have changed, to the
folder `NAME-seedN` below the output.

If a machine or a worker dies, the training starts again on another one, up to three times, from
the last checkpoint that came back. It gives the same model, bit for bit, as one that was not
disturbed, if the machines' processors are alike. A training whose program fails by itself is
reported, and not tried again. After an interrupt, the same command goes on.

**Encoding.** The image files, the output, and the model if it is a path, must be at the same
paths on all machines, for example in a network file system. The output is a folder of Parquet
files: one for each 10,000 files, in their order, with the columns `name` and `code`.
`pandas.read_parquet` and `pyarrow.parquet.read_table` read the folder as one table. Each file is
written whole or not at all, under the number of its part. So if a machine dies, no image
is lost and none is there twice, and the same command goes on where a stopped one was. `_SUCCESS`
is written when all are there. A file of many images (`.npy`) is encoded by one worker, so put at
most some hundred thousand in one. Folders of many millions of single files are slow to list and
to read; use such arrays instead."""


def scaling_text(path: Path = MEASURED) -> str:
    """Return the text of the document; without a measurement it has no figures."""
    if not path.is_file():
        return f"{USE}\n"
    found = json.loads(path.read_text(encoding="utf-8"))
    images, trainings = found["images_per_second"], found["trainings_per_hour"]
    machine, versions = found["machine"], found["versions"]
    rows = [
        [
            workers,
            f"{images[workers]:,.0f}",
            f"{images[workers] / images['1']:.2f}",
            f"{trainings[workers]:,.1f}",
            f"{trainings[workers] / trainings['1']:.2f}",
        ]
        for workers in images
    ]
    titles = ["workers", "images per second", "times one", "trainings per hour", "times one"]
    most = max(images, key=int)
    per_core = images[most] / int(most)
    hours = BILLION / per_core / 3600
    costs = [
        [
            f"{count}",
            f"{count * CORES:,}",
            f"{per_core * count * CORES:,.0f}",
            _duration(hours / (count * CORES)),
            f"{hours * CORE_HOUR:,.0f}",
        ]
        for count in MACHINES
    ]
    heads = ["machines", "cores", "images per second", "time", "US dollars"]
    measured = f"""## Measured

`tools/measure_ray.py` measured this on {found["date"]}, on one machine with {machine["cores"]}
cores ({machine["cpu"]}), with one thread for each worker: Ray {versions["ray"]}, Keras
{versions["keras"]}, PyTorch {versions["torch"]}. Encoded: {found["images"]:,} PNG files of 28 by
28 pixels to Parquet, by `{found["encoder"]}`. Trained: `{found["trained"]}` for {found["epochs"]}
epochs of Fashion-MNIST, with the start of the process and the loading of the data."""
    paper = f"""## A billion images, on paper

This is calculated, not measured. It assumes

- {per_core:,.0f} images per second and core, the measured rate of each of {most} workers;
- that the rate grows linearly with the cores, which was measured up to {most} workers, on one
  machine only;
- a storage that delivers the files as fast, which is likely to limit 100 machines first;
- machines of {CORES} such cores, at a price of {CORE_HOUR:.2f} US dollars for a core and hour. The
  price is an assumption; put in your own: the work is {hours:,.0f} core-hours."""
    return (
        "\n\n".join(
            [
                USE,
                measured,
                table(titles, rows, right=range(len(titles))),
                paper,
                table(heads, costs, right=range(len(heads))),
            ]
        )
        + "\n"
    )


def _duration(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 60:,.0f} minutes"


if __name__ == "__main__":
    SCALING.write_text(scaling_text(), encoding="utf-8")
