"""What a Hub tells: repositories, revisions, files."""

import hashlib
from urllib.parse import quote

from .cards import check_card
from .faults import Answer, json_answer
from .routing import ID, OID, PATH, REVISION, Call, page, route, stored_object
from .store import HubError
from .views import LISTED, LISTED_FULL, file_view, model_view


@route("POST", "/api/validate-yaml")
def validate_yaml(call: Call) -> Answer:
    errors, warnings = check_card(str(call.json().get("content", "")))
    found = {
        "errors": [{"message": message} for message in errors],
        "warnings": [{"message": message} for message in warnings],
    }
    return json_answer(found, 400 if errors else 200)


@route("GET", "/api/models")
def list_models(call: Call) -> Answer:
    query = call.query
    expand = query.get("expand", []) + query.get("expand[]", [])
    shown = LISTED_FULL if call.flag("full") else LISTED
    if call.flag("cardData") or call.flag("full"):
        shown = shown | {"cardData"}
    if expand:
        shown = {"_id", "id", *expand}
    search = query.get("search", [""])[-1].lower()
    views = []
    for repo in call.hub.store.repos.values():
        if repo.private and not (call.token and call.token.owns(repo.id)):
            continue
        view = model_view(repo, repo.head)
        if (
            set(query.get("filter", [])) <= {*view["tags"], view.get("library_name")}
            and query.get("author", [view["author"]])[-1] == view["author"]
            and search in repo.id.lower()
        ):
            views.append(view)
    views.sort(key=lambda view: view["createdAt"], reverse=True)
    size = min(call.hub.page_size, int(query.get("limit", [call.hub.page_size])[-1]))
    return page(call, [{k: v[k] for k in v if k in shown} for v in views], size)


@route("GET", rf"/api/models/{ID}/refs")
def list_refs(call: Call, repo_id: str) -> Answer:
    repo = call.hub.store.readable(repo_id, call.token)

    def refs(kind: str, targets: dict[str, str]) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid}
            for name, oid in targets.items()
        ]

    found = {
        "branches": refs("heads", repo.branches),
        "converts": [],
        "tags": refs("tags", repo.tags),
    }
    if call.flag("include_prs"):
        found["pullRequests"] = refs("pr", {str(n): oid for n, oid in repo.pulls.items()})
    return json_answer(found)


@route("GET", rf"/api/models/{ID}/discussions")
def list_discussions(call: Call, repo_id: str) -> Answer:
    repo = call.hub.store.readable(repo_id, call.token)
    found = [
        {
            "num": number,
            "title": repo.commits[oid].title,
            "author": {"name": repo.commits[oid].author},
            "createdAt": repo.commits[oid].date,
            "status": "open",
            "isPullRequest": True,
            "repo": {"name": repo_id, "type": "model"},
        }
        for number, oid in repo.pulls.items()
    ]
    return json_answer({"discussions": found, "count": len(found), "start": 0})


@route("GET", rf"/api/models/{ID}/commits/{REVISION}")
def list_commits(call: Call, repo_id: str, revision: str) -> Answer:
    repo = call.hub.store.readable(repo_id, call.token)
    commits = [
        {
            "id": commit.oid,
            "title": commit.title,
            "message": commit.message,
            "authors": [{"user": commit.author}],
            "date": commit.date,
        }
        for commit in repo.history(repo.resolve(revision))
    ]
    return json_answer(commits)


@route("GET", rf"/api/models/{ID}/tree/{REVISION}")
def list_tree(call: Call, repo_id: str, revision: str) -> Answer:
    """List all files, without their folders."""
    tree = call.hub.store.readable(repo_id, call.token).resolve(revision).tree
    return json_answer([file_view(path, tree[path]) for path in sorted(tree)])


@route("GET", rf"/api/models/{ID}/revision/{REVISION}")
@route("GET", rf"/api/models/{ID}")
def model_info(call: Call, repo_id: str, revision: str = "main") -> Answer:
    repo = call.hub.store.readable(repo_id, call.token)
    view = model_view(repo, repo.resolve(revision), call.flag("blobs"))
    expand = call.query.get("expand", []) + call.query.get("expand[]", [])
    if expand:
        view = {key: view[key] for key in view if key in ("_id", "id", *expand)}
    return json_answer(view)


@route("GET", rf"/{ID}/resolve/{REVISION}/{PATH}")
def resolve(call: Call, repo_id: str, revision: str, path: str) -> Answer:
    repo = call.hub.store.downloadable(repo_id, call.token)
    found = repo.resolve(revision)
    blob = repo.file(found, path)
    name = quote(path.rsplit("/", 1)[-1])
    disposition = f"inline; filename*=UTF-8''{name}; filename=\"{name}\";"
    headers = {"X-Repo-Commit": found.oid, "Accept-Ranges": "bytes"}
    if not blob.lfs:
        headers |= {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": disposition,
            "ETag": f'"{blob.git_id}"',
        }
        return Answer(200, headers, blob.content, ranges=True)
    target = {"response-content-disposition": disposition}
    headers |= {
        "X-Linked-Size": str(len(blob.content)),
        "X-Linked-ETag": f'"{blob.sha256}"',
        "Location": call.hub.signed(f"/repos/{repo_id}/{blob.sha256}", **target),
        "Content-Type": "text/plain; charset=utf-8",
    }
    return Answer(302, headers, f"Found. Redirecting to {headers['Location']}".encode())


@route("GET", rf"/repos/{ID}/{OID}", listener="cdn")
def download_object(call: Call, repo_id: str, oid: str) -> Answer:
    _, content = stored_object(call, repo_id, oid)
    if content is None:
        raise HubError(404, "Not found")
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Content-Disposition": call.query["response-content-disposition"][-1],
        # The network's own name for the content: not the one that the Hub promises.
        "ETag": f'"{hashlib.md5(content).hexdigest()}"',
    }
    return Answer(200, headers, content, ranges=True)
