"""What a Hub is told: repositories, refs, LFS content, commits."""

import base64
import hashlib
import json
from typing import Any

from .cards import check_card
from .faults import Answer, json_answer
from .routing import ID, OID, PATH, REVISION, Call, route, stored_object
from .store import LFS_SIZE, Blob, HubError, Repo, Tree, check_path, wants_lfs

CONFLICT = "A commit has happened since. Please refresh and try again."
NO_SUCH_OBJECT = (
    "Your push was rejected because an LFS pointer pointed to a file that does not exist"
)


@route("POST", "/api/repos/create")
def create_repo(call: Call) -> Answer:
    content = call.json()
    if call.token is None:
        raise HubError(401, "Invalid username or password.")
    repo_id = f"{content.get('organization') or call.token.user}/{content.get('name')}"
    if not call.token.may_write(repo_id):
        namespace = repo_id.split("/")[0]
        message = f'You don\'t have the rights to create a model under the namespace "{namespace}"'
        raise HubError(403, message)
    created = {"url": f"{call.hub.url}/{repo_id}", "name": repo_id, "id": repo_id}
    if repo_id in call.hub.store.repos:
        return json_answer({"error": "You already created this model repo", **created}, 409)
    private = content.get("visibility") == "private" or bool(content.get("private"))
    call.hub.store.create(repo_id, call.token.user, private)
    return json_answer(created)


@route("POST", rf"/api/models/{ID}/tag/{REVISION}")
def create_tag(call: Call, repo_id: str, revision: str) -> Answer:
    repo = call.hub.store.writable(repo_id, call.token)
    commit = repo.resolve(revision)
    tag = check_path(str(call.json().get("tag", "")))
    if tag in repo.tags:
        raise HubError(409, f"Tag {tag} already exists")
    repo.tags[tag] = commit.oid
    return json_answer({})


@route("POST", rf"/api/models/{ID}/branch/{PATH}")
def create_branch(call: Call, repo_id: str, path: str) -> Answer:
    repo = call.hub.store.writable(repo_id, call.token)
    branch = check_path(path)
    if branch.startswith("refs/"):
        raise HubError(400, f"Invalid reference for a branch: {branch}")
    if branch in repo.branches:
        raise HubError(409, f"Reference already exists: refs/heads/{branch}")
    repo.branches[branch] = repo.resolve(call.json().get("startingPoint", "main")).oid
    return json_answer({})


@route("POST", rf"/api/models/{ID}/preupload/{REVISION}")
def preupload(call: Call, repo_id: str, revision: str) -> Answer:
    repo = call.hub.store.committable(repo_id, call.token, revision, call.flag("create_pr"))
    commit = repo.resolve(revision)
    files = []
    for file in call.json().get("files", []):
        path = check_path(file["path"])
        sample = base64.b64decode(file.get("sample", ""))
        mode = "lfs" if wants_lfs(path, file.get("size", 0), sample) else "regular"
        answer = {"path": path, "uploadMode": mode, "shouldIgnore": False}
        blob = commit.tree.get(path)
        if blob is not None:
            answer["oid"] = blob.sha256 if blob.lfs else blob.git_id
        files.append(answer)
    return json_answer({"files": files, "commitOid": commit.oid})


@route("POST", rf"/{ID}\.git/info/lfs/objects/batch")
def lfs_batch(call: Call, repo_id: str) -> Answer:
    content = call.json()
    # Without a ref the content is for a pull request, which everybody may open.
    proposal = "ref" not in content
    revision = content.get("ref", {}).get("name", "main")
    repo = call.hub.store.committable(repo_id, call.token, revision, proposal)
    if content.get("operation") != "upload":
        raise HubError(422, "Only uploads are supported")
    objects = []
    for wanted in content.get("objects", []):
        oid, size = wanted["oid"], wanted["size"]
        answer = {"oid": oid, "size": size, "authenticated": True}
        if oid not in repo.objects:
            upload = call.hub.signed(f"/upload/{repo_id}/{oid}", size=size)
            verify = f"{call.hub.url}/{repo_id}.git/info/lfs/objects/verify"
            answer["actions"] = {
                "upload": {"href": upload, "header": {}},
                "verify": {"href": verify, "header": {}},
            }
        objects.append(answer)
    return json_answer({"transfer": "basic", "objects": objects})


@route("POST", rf"/{ID}\.git/info/lfs/objects/verify")
def lfs_verify(call: Call, repo_id: str) -> Answer:
    repo = call.hub.store.committable(repo_id, call.token, "main", create_pr=True)
    content = call.json()
    stored = repo.objects.get(str(content.get("oid")))
    if stored is None or len(stored) != content.get("size"):
        raise HubError(404, "LFS object was not uploaded, or has another size")
    return json_answer({"success": True})


@route("POST", rf"/api/models/{ID}/commit/{REVISION}")
def commit(call: Call, repo_id: str, revision: str) -> Answer:
    repo = call.hub.store.committable(repo_id, call.token, revision, call.flag("create_pr"))
    try:
        lines = [json.loads(line) for line in call.body.splitlines() if line.strip()]
        header = lines[0]["value"] if lines[0]["key"] == "header" else None
    except (ValueError, LookupError, TypeError) as error:
        raise HubError(400, f"Invalid ndjson: {error!r}") from error
    if not (isinstance(header, dict) and header.get("summary")):
        raise HubError(400, "The first line must be a header with a summary")
    parent = repo.resolve(revision)
    create_pr = call.flag("create_pr")
    expected = header.get("parentCommit")
    if create_pr:
        parent = repo.resolve(expected or parent.oid)
    elif revision not in repo.branches and not revision.startswith("refs/pr/"):
        raise HubError(400, f"{revision} is not a branch")
    elif expected and not parent.oid.startswith(expected):
        raise HubError(412, CONFLICT)
    tree = dict(parent.tree)
    for line in lines[1:]:
        apply_operation(repo, tree, line)
    if "README.md" in tree and tree["README.md"] is not parent.tree.get("README.md"):
        errors, _ = check_card(tree["README.md"].content.decode("utf-8", "replace"))
        if errors:
            raise HubError(400, "Invalid metadata in README.md: " + "; ".join(errors))
    message = header.get("description", "")
    new = call.hub.store.commit(repo, parent, tree, header["summary"], call.token.user, message)
    answer = {
        "success": True,
        "commitOid": new.oid,
        "commitUrl": f"{call.hub.url}/{repo_id}/commit/{new.oid}",
        "hookOutput": "",
    }
    if create_pr:
        number = len(repo.pulls) + 1
        repo.pulls[number], repo.pull_authors[number] = new.oid, call.token.user
        answer["pullRequestUrl"] = f"{call.hub.url}/{repo_id}/discussions/{number}"
    elif revision.startswith("refs/pr/"):
        repo.pulls[int(revision.rsplit("/", 1)[1])] = new.oid
    else:
        repo.branches[revision] = new.oid
    return json_answer(answer)


def apply_operation(repo: Repo, tree: Tree, line: dict[str, Any]) -> None:
    """Apply one line of a commit to a tree."""
    kind, value = line.get("key"), line.get("value", {})
    path = check_path(str(value.get("path", "")))
    if kind == "file":
        text = value.get("content", "")
        content = base64.b64decode(text) if value.get("encoding") == "base64" else text.encode()
        if len(content) > LFS_SIZE:
            message = "Your push was rejected because it contains files larger than 10 MiB"
            raise HubError(400, f"{message}. Offending file: {path}")
        tree[path] = Blob(content, lfs=False)
    elif kind == "lfsFile":
        stored = repo.objects.get(str(value.get("oid")))
        if stored is None or value.get("size", len(stored)) != len(stored):
            raise HubError(400, f"{NO_SUCH_OBJECT}. Offending file: {path}")
        tree[path] = Blob(stored, lfs=True)
    elif kind == "deletedFile":
        if path not in tree:
            raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        del tree[path]
    else:
        raise HubError(400, f"Unknown operation {kind!r}")


@route("PUT", rf"/upload/{ID}/{OID}", listener="cdn")
def upload_object(call: Call, repo_id: str, oid: str) -> Answer:
    repo, _ = stored_object(call, repo_id, oid)
    if call.query.get("size") != [str(len(call.body))]:
        raise HubError(400, "The content has another size than announced")
    if hashlib.sha256(call.body).hexdigest() != oid:
        raise HubError(400, "The content does not have the SHA-256 that was announced")
    repo.objects[oid] = call.body
    return Answer(200, {"ETag": f'"{hashlib.md5(call.body).hexdigest()}"'})
