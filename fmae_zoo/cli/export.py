"""`fmae export`."""

from typing import Any

import click

from fmae_zoo.cli.output import UserPath, emit_json, emit_table, json_option


@click.command("export")
@click.argument("name")
@click.option(
    "--format",
    type=click.Choice(("onnx", "openvino", "litert", "saved_model", "torch")),
    default="onnx",
    show_default=True,
)
@click.option("--part", type=click.Choice(("encoder", "decoder")), help="[encoder]")
@click.option("--int8", is_flag=True, help="8-bit integers; for ONNX.")
@click.option(
    "--output", "-o", type=UserPath(), required=True, help="File, or for a SavedModel folder."
)
@json_option
def export_command(name: str, output: str, as_json: bool, **options: Any) -> None:
    """Write a pretrained encoder, decoder or classifier as a file that runs without Keras.

    The file is run by its runtime and compared with Keras before it is kept. Keras writes ONNX and
    PyTorch files on PyTorch, LiteRT on TensorFlow, OpenVINO on both, a SavedModel on TensorFlow and
    JAX. Needs: pip install "fmae-zoo[export]"

    \b
    Example: fmae export conv-ae-bn -o encoder.onnx
             fmae export conv-vae-bn --format openvino --part decoder -o decoder.xml
    """
    import fmae_zoo

    done = fmae_zoo.export(name, output, **options)
    facts = {
        "written to": str(done.path),
        "part": done.part,
        "format": done.format,
        "int8": options["int8"],
        "bytes": done.size,
        "difference to Keras": f"{done.difference:.1e}",
    }
    if as_json:
        facts = {"output": str(done.path), "part": done.part, "format": done.format}
        emit_json(
            {**facts, "int8": options["int8"], "bytes": done.size, "difference": done.difference}
        )
        return
    emit_table(("", ""), list(facts.items()))
