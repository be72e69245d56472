"""Repositories and files in the JSON of a Hub."""

from typing import Any

from .cards import card_tags, read_card
from .store import Blob, Commit, Repo, git_sha1

LISTED = frozenset(
    ("_id", "id", "modelId", "private", "tags", "createdAt") + ("library_name", "pipeline_tag")
)
"""What a list of models tells of each unless more is asked for."""
LISTED_FULL = LISTED | {"author", "sha", "lastModified", "gated", "siblings"}


def model_view(repo: Repo, commit: Commit, blobs: bool = False) -> dict[str, Any]:
    """Return all that the Hub tells of a model at a commit."""
    card = read_card(commit)
    view = {
        "_id": git_sha1("repo", repo.id.encode())[:24],
        "id": repo.id,
        "modelId": repo.id,
        "author": repo.id.split("/")[0],
        "sha": commit.oid,
        "lastModified": repo.head.date,
        "createdAt": repo.created,
        "private": repo.private,
        "gated": repo.gated,
        "tags": card_tags(card),
        "library_name": card.get("library_name"),
        "pipeline_tag": card.get("pipeline_tag"),
        "cardData": card or None,
        "model-index": card.get("model-index"),
        "siblings": [_sibling(path, commit.tree[path], blobs) for path in sorted(commit.tree)],
    }
    return {key: value for key, value in view.items() if value is not None}


def _lfs_view(blob: Blob, name: str) -> dict[str, Any]:
    size, pointer_size = len(blob.content), len(blob.pointer)
    return {name: blob.sha256, "size": size, "pointerSize": pointer_size}


def _sibling(path: str, blob: Blob, details: bool) -> dict[str, Any]:
    view: dict[str, Any] = {"rfilename": path}
    if details:
        view |= {"blobId": blob.git_id, "size": len(blob.content)}
        if blob.lfs:
            view["lfs"] = _lfs_view(blob, "sha256")
    return view


def file_view(path: str, blob: Blob) -> dict[str, Any]:
    """Return what a listing of files tells of a file."""
    view = {"type": "file", "path": path, "oid": blob.git_id, "size": len(blob.content)}
    if blob.lfs:
        view["lfs"] = _lfs_view(blob, "oid")
    return view
