"""Keras variables written to and read from safetensors files, by name and strictly checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from fmae_zoo.errors import WeightsError
from fmae_zoo.files import atomic_write, read_verified, sha256_of

HEADER_ALLOWANCE = 1 << 20
"""Largest size in bytes of the header of a weights file."""


def named_variables(model: Any) -> dict[str, Any]:
    """Return the variables of a model by layer and name.

    A key is `LAYER.VARIABLE`, for example `stage1_conv1.kernel`. The spec fixes the names of the
    layers, so keys are the same on every backend and in every process. If a layer is itself a
    model, its name comes first: `head.hidden.kernel`.

    Raises:
        WeightsError: Two variables have the same key.
    """
    variables: dict[str, Any] = {}
    for layer in model.layers:
        found = named_variables(layer) if hasattr(layer, "layers") else named_in(layer)
        for name, variable in found.items():
            key = f"{layer.name}.{name}"
            if key in variables:
                raise WeightsError(f"two variables are named {key}")
            variables[key] = variable
    return variables


def named_in(layer: Any) -> dict[str, Any]:
    """Return the variables of a layer and of its inner layers, by their names in the layer."""
    names = [v.path.rpartition(f"{layer.name}/")[2].replace("/", ".") for v in layer.weights]
    if len(set(names)) < len(names):
        raise WeightsError(f"two variables of {layer.name} have one name")
    return dict(zip(names, layer.weights))


def is_finite(tensor: np.ndarray) -> bool:
    """Return whether a tensor has neither NaN nor infinity."""
    return not np.issubdtype(tensor.dtype, np.floating) or bool(np.isfinite(tensor).all())


def tensors_of(model: Any) -> dict[str, np.ndarray]:
    """Return copies as NumPy arrays of a model's variables, or of variables given by name."""
    import keras

    return {
        key: np.array(keras.ops.convert_to_numpy(variable))
        for key, variable in _variables(model).items()
    }


def _variables(model: Any) -> Mapping[str, Any]:
    return model if isinstance(model, Mapping) else named_variables(model)


def save_tensors(
    tensors: Mapping[str, np.ndarray], path: str | Path, metadata: dict[str, str] | None = None
) -> str:
    """Write tensors to a safetensors file atomically; return the SHA-256 of the file."""
    contiguous = {key: np.asarray(value, order="C") for key, value in tensors.items()}
    content = safetensors.numpy.save(contiguous, metadata=metadata)
    with atomic_write(path) as file:
        file.write(content)
    return sha256_of(content)


def halved(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return tensors with float32 matrices and kernels as float16, for a file of half the size.

    Vectors stay float32: biases, and the statistics of BatchNorm, which may exceed the range of
    float16.
    """
    return {
        key: tensor.astype("float16") if tensor.dtype == "float32" and tensor.ndim > 1 else tensor
        for key, tensor in tensors.items()
    }


def save_weights(model: Any, path: str | Path) -> str:
    """Write the variables of a model to a safetensors file; return the SHA-256 of the file.

    Raises:
        WeightsError: A value is NaN or infinite; nothing is written.
    """
    tensors = tensors_of(model)
    for key, tensor in tensors.items():
        if not is_finite(tensor):
            raise WeightsError(f"{path}: {key} holds NaN or infinity; nothing was written")
    return save_tensors(tensors, path)


def load_weights(model: Any, path: str | Path, sha256: str | None = None) -> None:
    """Read a safetensors file into a model, after all of it has been checked.

    A float32 variable may be stored as float16.

    Args:
        model: A built Keras model, or variables by name.
        path: Path of the safetensors file.
        sha256: Expected digest of the file, or None.

    Raises:
        WeightsError: The file is damaged or altered, or a tensor is missing, unexpected, not
            finite or of another shape or dtype. The model is not changed.
    """
    variables = _variables(model)
    expected_bytes = sum(_array_bytes(variable) for variable in variables.values())
    tensors = read_tensors(path, sha256, max_bytes=expected_bytes + HEADER_ALLOWANCE)
    assign_tensors(variables, tensors, str(path))


def read_tensors(
    path: str | Path, sha256: str | None = None, max_bytes: int | None = None
) -> dict[str, np.ndarray]:
    """Read all tensors of a safetensors file.

    Args:
        path: Path of the file.
        sha256: Expected digest of the file, or None.
        max_bytes: Largest size of the file, checked before it is read, or None.

    Raises:
        WeightsError: The file is missing, too large, damaged or altered.
    """
    content = read_verified(Path(path), sha256, max_bytes)
    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file: {error}") from error


def assign_tensors(
    variables: Mapping[str, Any], tensors: Mapping[str, np.ndarray], source: str
) -> None:
    """Assign tensors to the variables of the same names, after all of them have been checked.

    Raises:
        WeightsError: As for `load_weights`; the message names `source`.
    """
    problems = [f"missing tensor {key}" for key in variables.keys() - tensors.keys()]
    problems += [f"unexpected tensor {key}" for key in tensors.keys() - variables.keys()]
    for key in variables.keys() & tensors.keys():
        variable, tensor = variables[key], tensors[key]
        if tuple(variable.shape) != tensor.shape:
            problems.append(
                f"{key}: expected shape {tuple(variable.shape)}, received {tensor.shape}"
            )
        elif tensor.dtype.name not in _stored_as(variable.dtype):
            problems.append(f"{key}: expected {variable.dtype}, received {tensor.dtype.name}")
        elif not is_finite(tensor):
            problems.append(f"{key}: holds NaN or infinity")
    if problems:
        shown = "\n".join(f"  {problem}" for problem in sorted(problems)[:8])
        more = f"\n  and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise WeightsError(f"{source}: the weights do not fit this model:\n{shown}{more}")
    for key, variable in variables.items():
        variable.assign(tensors[key])


def count_of(variables: Mapping[str, Any]) -> int:
    """Return the total number of values in variables."""
    return sum(int(np.prod(variable.shape, dtype=np.int64)) for variable in variables.values())


def _stored_as(dtype: str) -> tuple[str, ...]:
    return (dtype, "float16") if dtype == "float32" else (dtype,)


def _array_bytes(variable: Any) -> int:
    return int(np.prod(variable.shape, dtype=np.int64)) * np.dtype(variable.dtype).itemsize
