"""`export`: a model as a file that other programs run, compared with Keras before it is kept."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from fmae_zoo.arguments import check_folder
from fmae_zoo.datasets import load_named
from fmae_zoo.errors import ArgumentError, ExportError
from fmae_zoo.extras import needed
from fmae_zoo.files import SAVING
from fmae_zoo.images import as_images
from fmae_zoo.layers import stock
from fmae_zoo.layout import GOLDEN_FILE
from fmae_zoo.loading import load
from fmae_zoo.registry import find_entry
from fmae_zoo.types import Model
from fmae_zoo.weights import read_tensors

EXTRA = "export"
TOLERANCE = 1e-4
"""Largest difference to Keras, relative to the largest output if that is above 1."""

CALIBRATION = 512
"""Number of training images from which the ranges of int8 values are computed."""

Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: File or folder of the exported model.
        format: Name of the format.
        part: `encoder`, `decoder` or `classifier`.
        difference: Largest absolute difference to Keras' outputs.
        size: Size of all files in bytes.
    """

    path: Path
    format: str
    part: str
    difference: float
    size: int


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        keras_name: Name of the format for `keras.Model.export`.
        suffix: Suffix of the file; empty for a folder.
        backends: Keras backends that can write it, with the modules they need for this.
        runner: Function from a path to a function that runs the model on a float32 array.
        options: Function that returns further options for `keras.Model.export`.
    """

    keras_name: str
    suffix: str
    backends: dict[str, tuple[str, ...]]
    runner: Callable[[Path], Runner]
    options: Callable[[], dict[str, Any]] = dict


def _onnx(path: Path) -> Runner:
    session = needed("onnxruntime", EXTRA).InferenceSession(str(path))
    name = session.get_inputs()[0].name
    return lambda array: session.run(None, {name: array})[0]


def _openvino(path: Path) -> Runner:
    # In bfloat16, which OpenVINO would choose, codes differ in the third digit.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = needed("openvino", EXTRA).Core().compile_model(str(path), "CPU", options)
    return lambda array: np.array(compiled(array)[0])


def _litert(path: Path) -> Runner:
    interpreter = needed("ai_edge_litert.interpreter", EXTRA).Interpreter(str(path))
    [given], [made] = interpreter.get_input_details(), interpreter.get_output_details()

    def run(array: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(given["index"], array.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], array)
        interpreter.invoke()
        found: np.ndarray = interpreter.get_tensor(made["index"])
        return found

    return run


def _saved_model(path: Path) -> Runner:
    loaded = needed("tensorflow", "tensorflow").saved_model.load(str(path))
    return lambda array: loaded.serve(array).numpy()


def _torch(path: Path) -> Runner:
    torch = needed("torch", "torch")
    module = torch.export.load(path).module()
    return lambda array: module(torch.from_numpy(array)).numpy(force=True)


def _any_batch() -> dict[str, Any]:
    torch = needed("torch", "torch")
    return {"dynamic_shapes": {0: torch.export.Dim("batch")}}


FORMATS = {
    "onnx": Format("onnx", ".onnx", {"torch": ("onnx", "onnxscript")}, _onnx),
    "openvino": Format("openvino", ".xml", {"torch": (), "tensorflow": ()}, _openvino),
    "litert": Format("litert", ".tflite", {"tensorflow": ()}, _litert),
    "saved_model": Format(
        "tf_saved_model", "", {"tensorflow": (), "jax": ("tensorflow",)}, _saved_model
    ),
    "torch": Format("torch", ".pt2", {"torch": ()}, _torch, _any_batch),
}


def export(
    source: str | Path,
    path: str | Path,
    *,
    format: str = "onnx",
    part: str | None = None,
    int8: bool = False,
) -> Exported:
    """Write a pretrained model as a file that its runtime runs without Keras and this package.

    Keras' own `Model.export` writes it. The file is then run by its runtime on the entry's golden
    images, and kept only if the outputs agree with Keras'.

    Args:
        source: Pretrained model or classifier, as `fmae_zoo.load` takes it.
        path: File to write, with the suffix of the format: `.onnx`, `.xml` (OpenVINO, which writes
            a `.bin` beside it), `.tflite` or `.pt2`; for `saved_model` a folder.
        format: `onnx`, `openvino`, `litert`, `saved_model` or `torch`.
        part: `encoder` (the default) or `decoder`; a classifier is exported whole. An encoder reads
            images `(n, height, width, channels)` in [0, 1] and returns codes `(n, latent size)`; a
            decoder reads codes and returns logits of images; a classifier returns probabilities.
        int8: Whether an encoder or classifier computes in 8-bit integers, which ONNX Runtime makes
            of the float32 file by the ranges of values for training images. The outputs then differ
            by more, and are not compared.

    Raises:
        ArgumentError: There is no such format or part; the backend cannot write the format; the
            path has another suffix or is taken; a package is not installed; the decoder is told
            the class; or `int8` is asked for another format than ONNX, or for a decoder.
        ExportError: Keras cannot export the model, or the runtime's outputs differ from Keras'.
        OSError: The file cannot be written.
        FmaeError: As `fmae_zoo.load`.
    """
    kind = _checked(format, part, int8)
    target = check_folder("path", path)
    if kind.suffix and target.suffix != kind.suffix:
        raise ArgumentError(f"path is {target}; expected a file {kind.suffix} for {format}")
    if target.exists():
        raise ArgumentError(f"{target} is there already")
    model, part, inputs = _part_of(source, part)
    expected_outputs = model.predict(inputs, verbose=0)
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=SAVING, dir=target.parent) as temporary:
        written = Path(temporary, target.name)
        _write(model, written, kind, inputs)
        difference = _difference(_outputs(kind, written, inputs), expected_outputs, format)
        if int8:
            spec = find_entry(source).spec
            images = load_named(spec.data).train_images[:CALIBRATION]
            _quantise(written, as_images(images, spec.shape))
            found = _outputs(kind, written, inputs)
            difference = float(np.abs(found - expected_outputs).max())
        size = sum(file.stat().st_size for file in Path(temporary).rglob("*") if file.is_file())
        for file in Path(temporary).iterdir():
            os.replace(file, target.parent / file.name)
    return Exported(target, format, part, difference, size)


def _checked(format: str, part: str | None, int8: bool) -> Format:
    if format not in FORMATS:
        raise ArgumentError(f"format is {format!r}; expected one of {', '.join(FORMATS)}")
    if part not in (None, "encoder", "decoder"):
        raise ArgumentError(f"part is {part!r}; expected encoder or decoder")
    if int8 and (format != "onnx" or part == "decoder"):
        raise ArgumentError("int8 is for encoders and classifiers in ONNX")
    kind, backend = FORMATS[format], keras.backend.backend()
    if backend not in kind.backends:
        others = " or ".join(f"KERAS_BACKEND={each}" for each in kind.backends)
        raise ArgumentError(f"Keras cannot export to {format} on {backend}: set {others}")
    for module in kind.backends[backend]:
        needed(module, EXTRA)
    return kind


def _part_of(source: str | Path, part: str | None) -> tuple[Model, str, np.ndarray]:
    """Return a model of plain Keras, the name of its part, and inputs: golden images or codes."""
    from fmae_zoo.classifier import Classifier

    loaded = load(source, pretrained=True)
    if isinstance(loaded, Classifier):
        if part is not None:
            raise ArgumentError(f"{source} is a classifier, which is exported whole")
        model, part = loaded.as_functional(), "classifier"
    else:
        part = part or "encoder"
        model = getattr(loaded, part)
    if len(model.inputs) > 1:
        raise ArgumentError(f"{source}: its {part} is told the class, and is not exported")
    entry = find_entry(source)
    golden = read_tensors(*entry.obtain(GOLDEN_FILE)[0])
    inputs = as_images(golden["images"], entry.spec.shape)
    return stock(model), part, loaded.encode(inputs) if part == "decoder" else inputs


def _write(model: Model, path: Path, kind: Format, inputs: np.ndarray) -> None:
    signature = [keras.InputSpec(shape=(None, *inputs.shape[1:]), dtype="float32")]
    try:
        model.export(
            str(path),
            format=kind.keras_name,
            verbose=False,
            input_signature=signature,
            **kind.options(),
        )
    except Exception as error:
        # Converters raise errors of many kinds, some with pages of text.
        raise ExportError(f"Keras cannot export to {path.name}: {str(error)[:300]}") from error


def _outputs(kind: Format, path: Path, inputs: np.ndarray) -> np.ndarray:
    try:
        return kind.runner(path)(inputs)
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"The runtime cannot run {path.name}: {str(error)[:300]}") from error


def _difference(found: np.ndarray, expected: np.ndarray, format: str) -> float:
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ExportError(f"The {format} file differs from Keras by {difference:.2g}; not kept")
    return difference


def _quantise(path: Path, images: np.ndarray) -> None:
    """Replace an ONNX file by one with 8-bit weights and activations."""
    quantization = needed("onnxruntime.quantization", EXTRA)
    name = needed("onnxruntime", EXTRA).InferenceSession(str(path)).get_inputs()[0].name

    class Images(quantization.CalibrationDataReader):  # type: ignore[name-defined]  # imported here
        """Training images in batches."""

        batches = iter(np.split(images, max(len(images) // 64, 1)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            """Return the next batch, or None after the last."""
            batch = next(self.batches, None)
            return None if batch is None else {name: batch}

    whole = path.with_suffix(".float32.onnx")
    os.replace(path, whole)
    quantization.quantize_static(str(whole), str(path), Images(), per_channel=True)
    whole.unlink()
