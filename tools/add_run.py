"""Copy a finished training run into the registry: `python tools/add_run.py runs/NAME-seed0`.

Kernels are stored in float16, which halves the download; goldens are computed with the stored
weights.
"""

import shutil
import sys
from pathlib import Path

from fmae_zoo.datasets import FASHION_MNIST_DIGEST
from fmae_zoo.entry import Entry
from fmae_zoo.errors import FmaeError
from fmae_zoo.layout import GOLDEN_FILE, TRAINING_FILES
from fmae_zoo.manifest import Manifest
from fmae_zoo.registry import find_entry
from fmae_zoo.saving import golden_of, prepared, record_files
from fmae_zoo.weights import assign_tensors, halved, read_tensors, save_tensors, tensors_of


def add_run(run: Path) -> Path:
    """Copy weights, goldens, history and manifest of a run to its entry; return the entry's folder.

    Raises:
        SystemExit: The run was not trained with the spec in the registry or the whole data set.
    """
    trained = Entry.read(run)
    folder = find_entry(trained.spec.full_name).folder
    assert folder is not None
    if Entry.read(folder).spec != trained.spec:
        raise SystemExit(f"{run} was trained by another spec than {folder}/spec.toml")
    training = trained.manifest.training
    if training is None or (
        trained.spec.takes_fashion_mnist and training.data_digest != FASHION_MNIST_DIGEST
    ):
        raise SystemExit(f"{run} was not trained on the whole of Fashion-MNIST")
    model = trained.build(pretrained=True)
    golden = read_tensors(*trained.file(GOLDEN_FILE))
    with prepared(folder) as new:
        for part, variables in model.parts().items():
            stored = halved(tensors_of(variables))
            assign_tensors(variables, stored, part)
            save_tensors(stored, new / f"{part}.safetensors")
        golden = golden_of(model, golden["images"], golden.get("labels"))
        save_tensors(golden, new / GOLDEN_FILE)
        for name in TRAINING_FILES:
            shutil.copy(run / name, new / name)
        manifest = Manifest(
            name=trained.spec.name,
            tag=trained.spec.tag,
            licence=trained.spec.licence,
            spec_sha256=trained.spec.digest,
            parameters=trained.manifest.parameters,
            training=training,
        )
        record_files(new, manifest).write(new)
    return folder


if __name__ == "__main__":
    try:
        for argument in sys.argv[1:]:
            print(add_run(Path(argument)))
    except (FmaeError, OSError) as error:
        raise SystemExit(str(error)) from error
