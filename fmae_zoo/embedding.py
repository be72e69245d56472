"""Encoding of image files into one file of codes, streamed batch by batch."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from fmae_zoo.errors import ImagesError
from fmae_zoo.extras import needed
from fmae_zoo.files import atomic_write
from fmae_zoo.images import as_images
from fmae_zoo.inference import predicted

NAMES_AT_ONCE = 10_000
Batches: TypeAlias = Iterator[tuple[list[str], np.ndarray]]
Writer: TypeAlias = Callable[[Batches, Path], int]


def embed_files(encoder: Any, source: Iterable[tuple[list[str], np.ndarray]], output: Path) -> int:
    """Encode images into a `.npz` or `.parquet` file and return their number.

    The source yields batches of names and images, as `ImageFiles` does. Codes and names are
    streamed, so memory does not grow with the number of images.

    Raises:
        ImagesError: The source has no readable image, or the output is neither `.npz` nor
            `.parquet`; nothing is written.
        ArgumentError: The output is `.parquet`, and pyarrow is not installed.
    """
    writers: dict[str, Writer] = {".npz": _write_npz, ".parquet": _write_parquet}
    if output.suffix not in writers:
        raise ImagesError(f"{output}: codes are written to .npz or .parquet")
    if output.suffix == ".parquet":
        needed("pyarrow", "parquet")

    def batches() -> Batches:
        for names, images in source:
            yield names, predicted(encoder, as_images(images, encoder.input_shape[1:]), len(images))

    stream = batches()
    first = next(stream, None)
    if first is None:
        raise ImagesError("None of the files holds a readable image.")
    return writers[output.suffix](chain([first], stream), output)


def _write_npz(batches: Batches, output: Path) -> int:
    """Write `names` and `codes` in the format of `numpy.savez`, through temporary files."""
    count = width = longest = 0
    folder = output.parent
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryFile(dir=folder) as codes,
        tempfile.TemporaryFile("w+", dir=folder) as names,
    ):
        for batch_names, batch in batches:
            names.writelines(f"{json.dumps(name)}\n" for name in batch_names)
            codes.write(batch.tobytes())
            longest = max([longest, *map(len, batch_names)])
            count, width = count + len(batch), batch.shape[1]
        codes.seek(0)
        names.seek(0)
        with atomic_write(output) as file, zipfile.ZipFile(file, "w") as archive:
            kind = f"<U{max(longest, 1)}"
            with _member(archive, "names", kind, (count,)) as member:
                while lines := list(islice(names, NAMES_AT_ONCE)):
                    member.write(np.array([json.loads(line) for line in lines], kind).tobytes())
            with _member(archive, "codes", "<f4", (count, width)) as member:
                shutil.copyfileobj(codes, member)
    return count


@contextmanager
def _member(
    archive: zipfile.ZipFile, name: str, kind: str, shape: tuple[int, ...]
) -> Iterator[IO[bytes]]:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        header = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        yield member


def _write_parquet(batches: Batches, output: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, writer = 0, None
    with atomic_write(output) as file:
        try:
            for names, codes in batches:
                values = pa.array(codes.ravel())
                column = pa.FixedSizeListArray.from_arrays(values, codes.shape[1])
                table = pa.table({"name": pa.array(names), "code": column})
                writer = writer or pq.ParquetWriter(file, table.schema)
                writer.write_table(table)
                count += len(names)
        finally:
            if writer is not None:
                writer.close()
    return count
