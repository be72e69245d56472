"""`search`: the zoo's models on the Hub."""

from collections.abc import Iterable
from dataclasses import dataclass

from fmae_zoo.arguments import check_integer
from fmae_zoo.errors import ArgumentError
from fmae_zoo.hub.address import HUB_PREFIX, ZOO_TAG
from fmae_zoo.hub.client import HubClient, refuse_offline
from fmae_zoo.hub.options import TIMEOUT, HubOptions


@dataclass(frozen=True)
class FoundModel:
    """A model on the Hub.

    Attributes:
        source: what `load` takes: `hf://NAMESPACE/NAME`.
        private: whether only its owner sees it.
        downloads: in the last 30 days.
        likes: of users.
        updated: date of the newest commit, `YYYY-MM-DD`, where the Hub says it.
        tags: of its card.
    """

    source: str
    private: bool
    downloads: int
    likes: int
    updated: str
    tags: tuple[str, ...]


def search(
    text: str | None = None,
    *,
    author: str | None = None,
    tag: str | Iterable[str] = (),
    limit: int = 100,
    token: str | bool | None = None,
    timeout: float = TIMEOUT,
) -> list[FoundModel]:
    """Return the zoo's models on the Hub: those that `push` published.

    Args:
        text: that is in the repo's name.
        author: the namespace.
        tag: one or several, all of which the model has, `variational` for example.
        limit: the most that are returned.
        token: with which one's own private models are found too.
        timeout: seconds that may be spent on the Hub in total.

    Raises:
        ArgumentError: an argument is of another type.
        HubError: the Hub cannot be asked.
    """
    tags = [tag] if isinstance(tag, str) or not isinstance(tag, Iterable) else list(tag)
    for name, value in (("text", text), ("author", author)):
        if value is not None and not isinstance(value, str):
            raise ArgumentError(f"{name} is {value!r}; expected text")
    for each in tags:
        if not isinstance(each, str) or not each:
            raise ArgumentError(f"tag is {each!r}; expected text")
    check_integer("limit", limit, 1)
    options = HubOptions(token=token, timeout=timeout)
    refuse_offline(options, "search")
    client = HubClient(options)

    def found() -> list[FoundModel]:
        models = client.api.list_models(
            filter=[ZOO_TAG, *tags], author=author, search=text, limit=limit, full=True
        )
        return [
            FoundModel(
                source=f"{HUB_PREFIX}{model.id}",
                private=bool(model.private),
                downloads=model.downloads or 0,
                likes=model.likes or 0,
                updated=f"{model.last_modified:%Y-%m-%d}" if model.last_modified else "",
                tags=tuple(model.tags or ()),
            )
            for model in models
        ]

    return client.call(found, request=client.request("search"))
