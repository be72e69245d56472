"""Codes of many images, streamed from files to a file."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fmae_zoo.accelerate import accelerated
from fmae_zoo.errors import ImagesError
from fmae_zoo.files import atomic_write
from fmae_zoo.images import ImageFiles, as_images

Batches: TypeAlias = Iterator[tuple[list[str], np.ndarray]]
Writer: TypeAlias = Callable[[Batches, Path], int]


def writer_for(output: Path) -> Writer:
    """Return the writer of a file by its suffix.

    Raises:
        ImagesError: neither `.npz` nor `.parquet`.
    """
    writers: dict[str, Writer] = {".npz": _write_npz, ".parquet": _write_parquet}
    if output.suffix not in writers:
        raise ImagesError(f"{output}: codes are written to .npz or .parquet")
    return writers[output.suffix]


def embed_files(encoder: Any, source: ImageFiles, write: Writer, output: Path) -> int:
    """Encode images batch by batch into a file, and return how many.

    Raises:
        ImagesError: none of the files holds a readable image; nothing is then written.
    """

    def batches() -> Batches:
        with accelerated(encoder):
            for names, images in source:
                codes = encoder.predict(as_images(images), batch_size=len(images), verbose=0)
                yield names, np.asarray(codes, dtype=np.float32)

    stream = batches()
    first = next(stream, None)
    if first is None:
        raise ImagesError("None of the files holds a readable image.")
    return write(chain([first], stream), output)


def _write_npz(batches: Batches, output: Path) -> int:
    names: list[str] = []
    codes: list[np.ndarray] = []
    for batch_names, batch in batches:
        names += batch_names
        codes.append(batch)
    with atomic_write(output) as file:
        np.savez(file, names=np.array(names), codes=np.concatenate(codes))
    return len(names)


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
