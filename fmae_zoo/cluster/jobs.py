"""Jobs as tasks of a Ray cluster, started again on another machine if theirs is lost."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras

from fmae_zoo.cluster.joining import places
from fmae_zoo.cluster.worker import Files, Order, read_files, run_there, write_files
from fmae_zoo.datasets.table import TABLE
from fmae_zoo.errors import FmaeError
from fmae_zoo.saving import spec_toml
from fmae_zoo.training.checkpoint import alone_in
from fmae_zoo.training.many import LOG_FILE, Job

RETRIES = 3
"""How often a job is started again after the loss of its machine or worker."""


class RayJobs:
    """Launches jobs on a Ray cluster: a `Launch` for `run_each`.

    Each job is a task that runs the job's program on the machine that takes it, from the content of
    the job's folder. The files that it writes are written to that folder every few seconds.

    Machines need this package, of the same version, and a data set that is named; spec and
    data that are files of this machine are sent to them.

    Args:
        ray: Ray's module, of a process that has joined a cluster.
        cpus: CPUs, and threads, of each job.
        gpus: GPUs of each job, or a part of one.
        every: Seconds after which changed files of a job are sent.

    Raises:
        ArgumentError: No machine of the cluster has so many CPUs or GPUs.
    """

    def __init__(self, ray: Any, cpus: int = 1, gpus: float = 0, every: float = 2.0) -> None:
        self.ray, self.cpus, self.every = ray, cpus, every
        self.at_once = places(ray, cpus, gpus)
        self._task = ray.remote(run_there).options(
            num_returns="streaming", max_retries=0, num_cpus=cpus, num_gpus=gpus
        )
        self._sent: dict[Path, Any] = {}

    def __call__(self, job: Job, words: list[str]) -> "RayProcess":
        """Start a job with these options of its program.

        Raises:
            TrainingError: Another process trains in the job's folder, or it cannot be written.
        """
        words = [
            "--seed",
            str(job.seed),
            "--resume",
            *(word for word in words if word != "--resume"),
        ]
        data: Any = {}
        if "--data" in words:
            place = words.index("--data") + 1
            # The data's tag is the name of the path, also if it is a link.
            path = Path(os.path.abspath(words[place]))
            if words[place] not in TABLE and path.exists():
                words[place] = f"./{path.name}"
                data = self._reference(path)
        return RayProcess(self, job, words, data)

    def submit(self, job: Job, words: list[str], data: Any) -> Any:
        """Return Ray's generator of the results of a new task for a job."""
        order = Order(
            program=job.program,
            words=words,
            spec=spec_toml(job.spec),
            files=read_files(job.folder),
            backend=keras.backend.backend(),
            cpus=self.cpus,
            every=self.every,
        )
        return self._task.remote(order, data)

    def _reference(self, path: Path) -> Any:
        """Return Ray's reference to the files at a path, which are sent to each machine once."""
        if path not in self._sent:
            paths = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
            content: Files = {str(p.relative_to(path.parent)): p.read_bytes() for p in paths}
            self._sent[path] = self.ray.put(content)
        return self._sent[path]


class RayProcess:
    """A job on the cluster, with the methods of `subprocess.Popen` that `Job` calls.

    Args:
        jobs: What submits its tasks.
        job: The job.
        words: Options of the job's program.
        data: Ray's reference to the files of the data set, or none of them.

    Raises:
        TrainingError: Another process trains in the job's folder, or it cannot be written.
    """

    def __init__(self, jobs: RayJobs, job: Job, words: list[str], data: Any) -> None:
        self._jobs, self._job, self._words, self._data = jobs, job, words, data
        self._code: int | None = None
        self._retries = RETRIES
        self._alone = ExitStack()
        self._alone.enter_context(alone_in(job.folder, resume=False))
        try:
            self._results = jobs.submit(job, words, data)
        except BaseException:
            self._alone.close()
            raise

    def poll(self) -> int | None:
        """Write the files that have come; return the exit code, or None while the job runs."""
        ray = self._jobs.ray
        try:
            while self._code is None and ray.wait([self._results], timeout=0)[0]:
                files, code = ray.get(next(self._results))
                write_files(self._job.folder, files)
                if code is not None:
                    self._end(code if code or self._is_done() else 1)
        except ray.exceptions.TaskCancelledError:
            self._end(-signal.SIGTERM)
        except ray.exceptions.RayTaskError as error:
            self._log(f"{error.cause}")
            self._end(1)
        except ray.exceptions.RayError as error:
            reason = f"{type(error).__name__}: {str(error).partition('. ')[0]}"
            if not self._retries:
                self._log(f"lost {RETRIES + 1} times, the last time by {reason}")
                self._end(1)
                return self._code
            self._retries -= 1
            ray.cancel(self._results)  # It may live, if only a result of it was lost.
            self._log(f"lost, and started again from the last checkpoint that came: {reason}")
            self._results = self._jobs.submit(self._job, self._words, self._data)
        except OSError as error:
            self._job.error = f"{self._job.folder}: cannot be written: {error}"
            ray.cancel(self._results)
            self._end(1)
        return self._code

    def terminate(self) -> None:
        """End the job; the files that have come stay."""
        if self._code is None:
            self._jobs.ray.cancel(self._results)
            self._end(-signal.SIGTERM)

    def wait(self) -> None:
        """Return at once: nothing more is taken from a job that was ended."""

    def _end(self, code: int) -> None:
        self._code = code
        self._alone.close()

    def _is_done(self) -> bool:
        """Return whether the model is of the job's spec and data; else say so in the log."""
        try:
            if self._job.is_done:
                return True
            self._log("the machine has trained with other data of this name, or another spec")
        except FmaeError as error:
            self._log(str(error))
        return False

    def _log(self, line: str) -> None:
        with (self._job.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")
