import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import fmae_zoo
from fmae_zoo import datasets, evaluation, registry
from fmae_zoo.cli import COMMANDS
from fmae_zoo.datasets import loading
from fmae_zoo.datasets.idx import write_idx
from fmae_zoo.saving import spec_toml
from tests.conftest import ROOT, TINY_CONV, tiny_spec
from tests.entries import TRAINED

pytestmark = pytest.mark.usefixtures("eager")

VAE = {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "elbo"}}


@pytest.fixture
def model(tmp_path):
    return f"local:{fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path / 'model')}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(fmae, command):
    code, out, _ = fmae(command, "--help")
    assert code == 0
    assert f"Example: fmae {command}" in out
    assert "--json" in out


def test_list_as_table_and_as_json(fmae):
    code, out, _ = fmae("list")
    assert code == 0
    assert all(name in out for name in registry.list_models())
    code, out, _ = fmae("list", "conv-*", "--exclude", "*vae*", "--sort", "mse", "--json")
    names = {row["name"] for row in json.loads(out)}
    assert {"conv-ae-bn", "conv-ae-bn-spatial"} <= names
    assert not [name for name in names if "vae" in name or not name.startswith("conv-")]
    assert fmae("list", "nothing-*")[::2] == (0, "no model matches 'nothing-*'\n")


@pytest.mark.parametrize("key", ["linear_probe", "mse", "parameters"])
def test_list_sorts_the_best_first_and_the_unmeasured_last(fmae, key, tmp_path):
    fmae_zoo.register(tiny_spec(name="not-measured"))
    rows = json.loads(fmae("list", "--sort", key, "--json")[1])
    values = [row[key] for row in rows]
    measured = [value for value in values if value is not None]
    assert measured == sorted(measured, reverse=key == "linear_probe")
    assert values[: len(measured)] == measured


def test_info(fmae, model):
    code, out, _ = fmae("info", "conv-ae-bn")
    assert code == 0
    assert "Apache-2.0" in out
    content = json.loads(fmae("info", model, "--json")[1])
    assert content["manifest"]["files"]["encoder.safetensors"]["size"] > 0
    fmae_zoo.register(tiny_spec(name="untrained"))
    assert "fmae train untrained" in fmae("info", "untrained")[1]


def test_wrong_usage_is_2_and_an_error_is_1(fmae):
    code, _, err = fmae("info", "conv-ae-bm")
    assert code == 1
    assert "Did you mean" in err
    assert fmae("list", "--sort", "beauty")[0] == 2
    code, _, err = fmae("lsit")
    assert code == 2
    assert "'list'" in err
    assert fmae("nothing-like-it")[0] == 2
    assert fmae("embed", "conv-ae-bn")[0] == 2
    assert fmae("--version")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["info", "conv-ae-bm"], 1, "UnknownModelError"),
        (["verify", "conv-ae-bm"], 1, "UnknownModelError"),
        (["evaluate", "conv-ae-bn", "--figure", "beauty"], 2, "BadParameter"),
        (["list", "--sort", "beauty"], 2, "BadParameter"),
    ],
)
def test_with_json_an_error_is_json_too(fmae, words, code, kind):
    found, out, err = fmae(*words, "--json")
    assert found == code
    content = json.loads(out)["error"]
    assert content["type"] == kind
    assert content["message"]
    assert err


def test_a_classifier_reads_what_the_published_figures_read():
    from fmae_zoo.evaluation.head import features_layer

    conv = fmae_zoo.Autoencoder(tiny_spec(network=TINY_CONV))
    spatial = tiny_spec(network=TINY_CONV, latent={"type": "spatial", "size": 196})
    assert features_layer(conv.encoder) == "features"
    assert features_layer(fmae_zoo.Autoencoder(spatial).encoder) is None
    assert features_layer(fmae_zoo.Autoencoder(tiny_spec()).encoder) is None


def test_a_wrong_name_or_seed_is_found_before_the_data(fmae, monkeypatch):
    monkeypatch.setattr(loading, "find_data", lambda report=None: 1 / 0)
    assert fmae("train", "dense-aee")[0] == 1
    assert fmae("train", "dense-ae", "--seed", -1)[0] == 2


def test_data(fmae, idx):
    content = json.loads(fmae("data", "--data", idx, "--json")[1])
    assert content["train_images"] == [230, 28, 28]
    code, out, _ = fmae("data", "--data", idx)
    assert code == 0
    assert "digest" in out
    assert fmae("data", "--data", idx / "nowhere")[0] == 2


def test_train_evaluate_and_resume(fmae, idx, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "spec.toml").write_text(spec_toml(tiny_spec()))
    options = ["--data", idx, "--epochs", 2, "-o", tmp_path / "run"]
    code, out, err = fmae("train", tmp_path / "mine", *options)
    assert code == 0, err
    assert "val_loss" in out
    code, _, err = fmae("train", tmp_path / "mine", *options)
    assert code == 1
    assert "--resume" in err
    code, out, _ = fmae("train", tmp_path / "mine", *options, "--resume", "--json")
    assert json.loads(out)["training"]["epochs"] == 2

    run = f"local:{tmp_path / 'run'}"
    code, out, _ = fmae("evaluate", run, "--data", idx, "--figure", "knn", "--write", "--json")
    assert code == 0
    content = json.loads(out)
    assert (content["data"], content["sample"]) == (str(idx), False)
    found = content["figures"]["knn"]["accuracy"]
    assert registry.find_entry(run).manifest.results["knn"]["accuracy"] == found
    assert "accuracy" in fmae("evaluate", run, "--data", idx, "--figure", "knn")[1]
    code, out, _ = fmae("verify", run)
    assert code == 0
    assert "golden codes" in out


def test_verify_fails_with_1_and_names_the_file(fmae, model):
    from pathlib import Path

    (Path(model.removeprefix("local:")) / "decoder.safetensors").write_bytes(b"")
    code, out, _ = fmae("verify", model, "--json")
    assert code == 1
    failed = [c["name"] for c in json.loads(out)[model] if c["passed"] is False]
    assert failed == ["decoder.safetensors"]
    (Path(model.removeprefix("local:")) / "manifest.json").write_text("{")
    code, out, _ = fmae("verify", model, "--json")
    assert code == 1
    assert [c["name"] for c in json.loads(out)[model]] == ["manifest"]
    assert fmae("verify", "dense-aee")[0] == 1


def test_verify_without_a_name_checks_every_trained_entry(fmae, tmp_path, monkeypatch):
    from fmae_zoo import verification

    monkeypatch.setattr(verification, "find_data", lambda: None)
    for entry in TRAINED:
        if entry.spec.name not in ("dense-ae", "conv-ae-bn"):
            registry.unregister(entry.spec.full_name)
    fmae_zoo.register(fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path / "tiny"))
    code, out, err = fmae("verify", "--json")
    assert code == 0, err
    checks = json.loads(out)
    assert set(checks) == set(registry.list_models(pretrained=True)) >= {"tiny-ae", "dense-ae"}
    assert all(len(each) > 4 for each in checks.values())


def test_ctrl_c_in_training_saves_and_says_how_to_resume(fmae, idx, tmp_path, monkeypatch):
    from fmae_zoo.training import loop as training

    write = training.write_checkpoint

    def write_then_stop(folder, model, progress):
        write(folder, model, progress)
        raise KeyboardInterrupt

    fmae_zoo.register(tiny_spec())
    monkeypatch.setattr(training, "write_checkpoint", write_then_stop)
    run = tmp_path / "run"
    code, _, err = fmae("train", "tiny-ae", "--data", idx, "--epochs", 3, "-o", run)
    assert code == 1
    words = " ".join(err.split())
    assert "Resume with: fmae train tiny-ae --seed 0" in words
    assert "--epochs 3" in words
    assert "--resume" in words
    monkeypatch.undo()
    code, out, _ = fmae(
        "train", "tiny-ae", "--data", idx, "--epochs", 3, "-o", run, "--resume", "--json"
    )
    assert json.loads(out)["training"]["epochs"] == 3


def test_a_real_interrupt_is_a_ctrl_c(idx, tmp_path):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path / "model")
    run = tmp_path / "run"
    words = ["train", f"local:{tmp_path / 'model'}", "--data", idx, "-o", run, "--epochs", 100_000]
    # A background job starts with SIGINT ignored, and so do its children.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from fmae_zoo.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not (run / "history.csv").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "Resume with" in err
    assert "Traceback" not in err
    assert (run / "checkpoint.safetensors").exists()


def test_classify(fmae, idx, tmp_path):
    saved = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(network=TINY_CONV)), tmp_path / "model")
    options = ["--data", idx, "--epochs", 1, "--tune-epochs", 1, "--fine-tune"]
    code, out, err = fmae("classify", f"local:{saved}", *options, "-o", tmp_path / "out", "--json")
    assert code == 0, err
    assert set(json.loads(out)["reports"]) == {"frozen", "fine_tuned"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.json",
        "confusion-frozen.png",
        "confusion-fine-tuned.png",
        "spec.toml",
        "manifest.json",
        "head.json",
        "classifier.safetensors",
        "golden.safetensors",
    }
    report = json.loads(out)["reports"]["fine_tuned"]
    classifier = fmae_zoo.load(tmp_path / "out")
    images, labels = fmae_zoo.load_data(idx).test_images, fmae_zoo.load_data(idx).test_labels
    assert classifier.report(images, labels) == report
    assert classifier.labels is None
    figure = registry.find_entry(tmp_path / "out").manifest.results["fine_tuned"]
    assert figure.items() >= report.items()
    assert (figure["epochs"], figure["augment"]) == (1, True)
    code, out, err = fmae("push", f"local:{tmp_path / 'out'}", "me/mine", "--dry-run")
    assert code == 0, err
    assert "report.json" not in out
    assert f"**{report['accuracy']:.4f}**" in out
    code, out, _ = fmae("classify", f"local:{saved}", *options[:-1])
    assert code == 0
    assert "Ankle boot" not in out


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_embed_streams_files_into_a_file(fmae, model, tmp_path, images, suffix):
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "broken.png").write_bytes(b"no")
    output = tmp_path / f"codes.{suffix}"
    words = ["embed", model, tmp_path / "images.npy", tmp_path / "broken.png", "-o", output]
    code, out, err = fmae(*words, "--batch-size", 5, "--json")
    assert code == 0, err
    assert json.loads(out)["images"] == 16
    assert "broken.png" in err
    expected = fmae_zoo.load(model).encode(images)
    if suffix == "npz":
        codes = np.load(output)["codes"]
    else:
        import pyarrow.parquet as pq

        codes = np.stack(pq.read_table(output).column("code").to_pylist())
    np.testing.assert_allclose(codes, expected, atol=1e-5)


@pytest.mark.parametrize("command", ["embed", "reconstruct"])
@pytest.mark.parametrize("kind", ["picture", "array"])
def test_pictures_on_white_are_told_of(fmae, model, tmp_path, images, command, kind):
    def run(pixels):
        if kind == "array":
            np.save(tmp_path / "one.npy", pixels)
        else:
            for index, each in enumerate(pixels):
                Image.fromarray(each).save(tmp_path / f"{index}.png")
        output = tmp_path / "out" / ("codes.npz" if command == "embed" else "pairs.png")
        (tmp_path / "out").mkdir(exist_ok=True)
        files = [path for path in tmp_path.iterdir() if path.is_file()]
        code, out, err = fmae(command, model, *files, "-o", output, "--json")
        assert code == 0, err
        json.loads(out)
        return err

    assert "bright" not in run(images[:5])
    said = run(255 - images[:5])
    assert "5 images have a bright background" in said
    assert "ImageOps.invert" in said


def test_embed_without_a_readable_image_keeps_what_was_there(fmae, model, tmp_path):
    output = tmp_path / "codes.npz"
    output.write_bytes(b"precious")
    (tmp_path / "broken.png").write_bytes(b"no")
    code, _, err = fmae("embed", model, tmp_path / "broken.png", "-o", output)
    assert code == 1
    assert "broken.png: not a readable picture" in err
    assert output.read_bytes() == b"precious"
    assert fmae("embed", model, tmp_path / "broken.png", "-o", tmp_path / "codes.txt")[0] == 2
    assert fmae("generate", model, "-o", tmp_path / "x.txt")[0] == 2


def test_reconstruct_and_generate_draw_pictures(fmae, model, idx, tmp_path, images):
    np.save(tmp_path / "images.npy", images)
    code, out, _ = fmae(
        "reconstruct", model, tmp_path / "images.npy", "-o", tmp_path / "pairs.png", "--json"
    )
    assert code == 0
    assert json.loads(out)["images"] == 12
    assert (tmp_path / "pairs.png").read_bytes()[:4] == b"\x89PNG"
    vae = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(**VAE)), tmp_path / "vae")
    options = ["-n", 5, "-o", tmp_path / "new.png"]
    code, out, err = fmae("generate", f"local:{vae}", *options)
    assert code == 0, err
    assert re.search(r"images +5\b", out)
    assert (tmp_path / "new.png").exists()
    code, _, err = fmae("generate", f"local:{vae}", "--sampler", "gmm", *options)
    assert code == 1
    assert "expected one of prior" in " ".join(err.split())
    for sampler in ([], ["--sampler", "prior"]):
        code, _, err = fmae("generate", model, *sampler, "-o", tmp_path / "none.png")
        assert code == 1
        assert "fmae samplers NAME --write" in " ".join(err.split())
    assert fmae("reconstruct", model, tmp_path / "none.npy", "-o", tmp_path / "x.png")[0] == 1


def test_list_is_a_command_of_its_own_and_imports_no_backend():
    code = (
        "import sys; sys.argv = ['fmae', 'list', '--json']\n"
        "from fmae_zoo.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'keras', 'tensorflow', 'torch', 'jax', 'sklearn', 'scipy'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "print(loaded, file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stderr.strip() == "set()"
    assert len(json.loads(result.stdout)) >= 5


def test_the_module_is_the_command():
    words = [sys.executable, "-m", "fmae_zoo", "info", "conv-ae-bm"]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 1
    assert "Did you mean" in result.stderr


def test_a_damaged_entry_of_another_package_hides_no_other(fmae, tmp_path):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path)
    fmae_zoo.register(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    wrong = (
        {"knn": 0.85},
        {"knn": {"accuracy": "0.85"}},
        {"frozen_head": {"features": 0.9}},
        {"frozen_head": {"latent": {"accuracy": [1]}}},
    )
    damaged = [json.dumps({**manifest, "results": results}) for results in wrong]
    for broken in ("{", '{"results": {"knn": 0.85}}', *damaged):
        (tmp_path / "manifest.json").write_text(broken)
        code, out, err = fmae("list", "--sort", "knn")
        assert code == 0
        assert "dense-ae" in out
        assert "manifest.json" in err


def test_brackets_in_names_are_no_markup(fmae, tmp_path):
    folder = tmp_path / "run[red][/x]"
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), folder)
    code, out, _ = fmae("info", f"local:{folder}")
    assert code == 0
    assert "run[red][/x]" in out


def test_an_empty_test_set_is_an_error(fmae, model, few, tmp_path):
    for name in datasets.TABLE[datasets.DEFAULT].files:
        content = few.train_images if "images" in name else few.train_labels
        write_idx(tmp_path / name, content[:0] if "t10k" in name else content)
    code, _, err = fmae("evaluate", model, "--data", tmp_path)
    assert code == 1
    assert "there are no images" in err


def test_figures_of_the_sample_say_so_in_every_form(fmae, model, caplog, monkeypatch):
    monkeypatch.setattr(loading, "find_data", lambda report=None: None)
    options = ["--figure", "knn", "--figure", "elbo"]
    code, out, err = fmae("evaluate", model, *options, "--json")
    assert code == 0
    content = json.loads(out)
    assert content["sample"] is True
    assert set(content["figures"]) == {"knn"}
    assert "Figures are of the sample" in caplog.text
    assert f"elbo does not apply to {model}" in " ".join(err.split())
    monkeypatch.setattr(datasets.Dataset, "digest", property(lambda self: 1 / 0))
    code, out, err = fmae("evaluate", model, *options, "--write")
    assert code == 1
    assert "figures of the sample" in err
    assert out == ""


def test_a_figure_that_was_measured_before_a_stop_is_kept(fmae, model, idx, monkeypatch):
    def stopped(subject):
        raise KeyboardInterrupt

    interrupted = replace(evaluation.FIGURES["linear_probe"], measure=stopped)
    monkeypatch.setitem(evaluation.FIGURES, "linear_probe", interrupted)
    options = ["--data", idx, "--figure", "knn", "--figure", "linear_probe", "--write"]
    code, _, err = fmae("evaluate", model, *options)
    assert (code, "Stopped" in err) == (1, True)
    assert set(registry.find_entry(model).manifest.results) == {"knn"}


def test_a_classifier_is_not_written_over_the_model(fmae, model, idx):
    code, _, err = fmae("classify", model, "--data", idx, "-o", model.removeprefix("local:"))
    assert code == 1
    assert "holds an autoencoder" in " ".join(err.split())
    assert "training the head" not in err


def test_a_classifier_of_fashion_mnist_has_the_names_of_its_classes(
    fmae, model, few, monkeypatch, tmp_path
):
    monkeypatch.setattr(loading, "find_data", lambda report=None: None)
    monkeypatch.setattr(loading, "load_sample", lambda: few)
    code, _, err = fmae("classify", model, "--epochs", 1, "-o", tmp_path / "out")
    assert code == 0, err
    assert fmae_zoo.load(tmp_path / "out").labels == datasets.CLASS_NAMES
    assert not registry.find_entry(tmp_path / "out").manifest.results


def test_a_folder_that_cannot_be_made_is_found_before_the_training(fmae, model, idx, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = fmae("classify", model, "--data", idx, "-o", tmp_path / "file" / "out")
    assert code == 1
    assert "training the head" not in err


def test_names_that_look_like_formulas_or_are_no_text_are_drawn(fmae, tmp_path, images):
    np.save(tmp_path / "images.npy", images)
    folder = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path / "a$b_{$c")
    picture = os.fsencode(tmp_path) + b"/caf\xe9.png"
    words = ["reconstruct", f"local:{folder}", tmp_path / "images.npy", "-o", os.fsdecode(picture)]
    code, out, err = fmae(*words, "--json")
    assert code == 0, err
    assert json.loads(out)["images"] == 12
    assert os.path.exists(picture)


def test_a_run_is_named_after_its_folder_even_where_that_is_here(fmae, idx, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "spec.toml").write_text(spec_toml(tiny_spec()))
    monkeypatch.chdir(tmp_path / "mine")
    code, out, err = fmae("train", ".", "--data", idx, "--epochs", 1, "--json")
    assert code == 0, err
    assert json.loads(out)["folder"] == "runs/mine-seed0"
