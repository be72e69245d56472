"""Options of the commands that can run on a Ray cluster."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fmae_zoo.images import ImageFiles
    from fmae_zoo.training.many import Launch

RAY = "ray"


@dataclass(frozen=True)
class Engine:
    """Where a command's work is done.

    Attributes:
        name: `local`, or `ray`.
        address: Address of the Ray cluster; None starts Ray on this machine.
        cpus: CPUs of each task.
        gpus: GPUs of each task.
    """

    name: str
    address: str | None
    cpus: int
    gpus: float

    @property
    def is_ray(self) -> bool:
        """Whether the work is done by a Ray cluster."""
        return self.name == RAY

    @contextmanager
    def launching(self, jobs: int | None) -> Iterator[tuple["Launch", int]]:
        """Yield what starts trainings, and how many of them at once.

        Args:
            jobs: Number at once that was asked for; by default 1, or all that a cluster can run.
        """
        from fmae_zoo.training.many import launch_here

        if not self.is_ray:
            yield launch_here, 1 if jobs is None else jobs
            return
        from fmae_zoo.cluster.jobs import RayJobs

        with _joined(self.address) as ray:
            launch = RayJobs(ray, self.cpus, self.gpus)
            yield launch, jobs or launch.at_once

    def embed(
        self, name: str, source: "ImageFiles", output: Path, precision: str, workers: int | None
    ) -> int:
        """Encode image files on the cluster, and return the number of images."""
        import keras

        from fmae_zoo.cluster.embedding import Encoding, embed_on_ray, weights_of
        from fmae_zoo.progress import StepsProgress

        backend, here = keras.backend.backend(), os.getcwd()
        target = str(output.absolute())
        weights = weights_of(name)
        how = Encoding(name, weights, precision, source.batch_size, backend, here, target)
        with _joined(self.address) as ray, StepsProgress() as bar:
            bar.begin("files")
            return embed_on_ray(
                ray, how, source, workers=workers, cpus=self.cpus, gpus=self.gpus, advance=bar
            )


@contextmanager
def _joined(address: str | None) -> Iterator[Any]:
    """Join a cluster without Ray's messages on stdout, where a command prints its result."""
    from fmae_zoo.cluster.joining import joined

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), joined(address) as ray:
        yield ray


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of where the work is done, which the function takes as `engine`."""

    @wraps(function)
    def told(
        *args: Any, engine: str, address: str | None, cpus: int, gpus: float, **rest: Any
    ) -> Any:
        if engine != RAY and (address is not None or cpus > 1 or gpus):
            raise click.UsageError("--address, --cpus and --gpus are for --engine ray.")
        return function(*args, engine=Engine(engine, address, cpus, gpus), **rest)

    for option in (
        click.option("--gpus", type=click.FloatRange(min=0), default=0, help="Of each, on Ray."),
        click.option("--cpus", type=click.IntRange(min=1), default=1, help="Of each, on Ray."),
        click.option(
            "--address",
            metavar="auto|HOST:PORT",
            help="Ray cluster that this machine belongs to. [Ray on this machine alone]",
        ),
        click.option(
            "--engine",
            type=click.Choice(("local", RAY)),
            default="local",
            show_default=True,
            help="Where to compute; ray: on a Ray cluster, whose machines have this package.",
        ),
    ):
        told = option(told)
    return told
