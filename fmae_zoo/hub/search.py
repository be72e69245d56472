"""`search`: find the zoo's models on the Hub."""

from collections.abc import Iterable
from dataclasses import dataclass

from fmae_zoo.arguments import check_integer
from fmae_zoo.errors import ArgumentError
from fmae_zoo.hub.address import HUB_PREFIX, ZOO_TAG
from fmae_zoo.hub.client import HubClient
from fmae_zoo.hub.options import TIMEOUT, HubOptions


@dataclass(frozen=True)
class FoundModel:
    """A model on the Hub.

    Attributes:
        source: Address for `load`, `hf://NAMESPACE/NAME`.
        private: Whether the repo is private.
        downloads: Number of downloads in the last 30 days.
        likes: Number of likes.
        updated: Date of the newest commit, `YYYY-MM-DD`; empty if the Hub does not say it.
        tags: Tags of its card.
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
    """Return the zoo's models on the Hub, which are those that `push` published.

    Args:
        text: Text in the repo's name.
        author: Namespace of the repos.
        tag: One or several tags; a model must have all of them, `variational` for example.
        limit: Largest number of models to return.
        token: Token of the Hub's user, with which the user's private models are found too.
        timeout: Seconds that may be spent on the Hub in total.

    Raises:
        ArgumentError: An argument has a wrong type, or `limit` is less than 1.
        HubError: The Hub cannot be asked.
    """
    tags = [tag] if isinstance(tag, str) or not isinstance(tag, Iterable) else list(tag)
    for name, value in (("text", text), ("author", author)):
        if value is not None and not isinstance(value, str):
            raise ArgumentError(f"{name} is {value!r}; expected text")
    for each in tags:
        if not isinstance(each, str) or not each:
            raise ArgumentError(f"tag is {each!r}; expected text")
    check_integer("limit", limit, 1)
    client = HubClient(HubOptions(token=token, timeout=timeout))
    client.require("search")

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
