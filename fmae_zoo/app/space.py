"""A Space of the Hugging Face Hub that shows the page: its files, and their publication."""

from pathlib import Path

from fmae_zoo._backend import require_backend
from fmae_zoo.errors import ArgumentError
from fmae_zoo.files import write_text
from fmae_zoo.hub.address import check_repo
from fmae_zoo.hub.client import HubClient
from fmae_zoo.hub.options import TIMEOUT, HubOptions

APP = '''"""The page of fmae_zoo."""

import os

os.environ.setdefault("KERAS_BACKEND", "{backend}")

from fmae_zoo.app import launch

launch()
'''
README = """---
title: {title}
emoji: 👟
colorFrom: blue
colorTo: gray
sdk: gradio
sdk_version: {gradio}
app_file: app.py
license: apache-2.0
short_description: Autoencoders for Fashion-MNIST, to look at and compare
tags:
- fmae-zoo
- autoencoder
- fashion-mnist
---

# {title}

Pretrained autoencoders for Fashion-MNIST: encode and reconstruct images, walk through the codes,
generate, compare and train. It is the page that `fmae app` of the package fmae_zoo serves.
"""


def space_files(repo: str, install: str | None = None) -> dict[str, str]:
    """Return the files of a Space by name: `app.py`, `requirements.txt` and `README.md`.

    The Space runs on the backend that Keras uses here.

    Args:
        repo: Name of the Space, `NAMESPACE/NAME`.
        install: What pip installs in the Space; by default this version of fmae_zoo. A package
            that is not on PyPI is given by its address, for example `fmae-zoo[app,jax] @ git+URL`.

    Raises:
        ArgumentError: The name is not valid, `install` is not one line, or Gradio is missing.
        BackendError: No Keras backend is installed.
    """
    from importlib.metadata import version

    import fmae_zoo
    from fmae_zoo.extras import needed

    check_repo(repo)
    backend = require_backend()
    install = install or f"fmae-zoo[app,{backend}]=={fmae_zoo.__version__}"
    if len(install.splitlines()) != 1 or not install.strip():
        raise ArgumentError(f"install is {install!r}; expected one line of requirements.txt")
    needed("gradio", "app")
    title = repo.partition("/")[2]
    return {
        "app.py": APP.format(backend=backend),
        "requirements.txt": f"{install.strip()}\n",
        "README.md": README.format(title=title, gradio=version("gradio")),
    }


def write_space(folder: str | Path, contents: dict[str, str]) -> Path:
    """Write the files of a Space into a folder; return the folder.

    Raises:
        ArgumentError: The folder holds another file of one of these names.
    """
    folder = Path(folder)
    for name, content in contents.items():
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") != content:
            raise ArgumentError(f"{path} exists and differs; choose another folder, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_text(folder / name, content)
    return folder


def push_space(
    repo: str,
    contents: dict[str, str],
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    timeout: float = TIMEOUT,
) -> str:
    """Publish the files of a Space in one commit; return its URL.

    Args:
        repo: Name of the Space, `NAMESPACE/NAME`; created if it does not exist.
        contents: Files by name.
        private: Whether a new Space is private; by default the namespace decides.
        token: Token of the Hub's user; by default that of `HF_TOKEN` or `hf auth login`.
        timeout: Largest total time of requests, in seconds.

    Raises:
        HubPermissionError: The token is missing, wrong, or may not write here.
        HubError: The Hub failed in another way.
        ArgumentError: The name is not valid.
    """
    from huggingface_hub import CommitOperationAdd

    check_repo(repo)
    client = HubClient(HubOptions(token=token, timeout=timeout))
    client.require("push", token=True)
    request = client.request("write", repo)
    client.call(
        client.api.create_repo,
        repo,
        repo_type="space",
        space_sdk="gradio",
        private=private,
        exist_ok=True,
        request=request,
    )
    operations = [CommitOperationAdd(name, text.encode()) for name, text in contents.items()]
    client.call(
        client.api.create_commit,
        repo,
        operations,
        repo_type="space",
        commit_message="The page of fmae_zoo",
        request=request,
    )
    return f"{client.endpoint}/spaces/{repo}"
