"""Addresses of repos on the Hub: `hf://NAMESPACE/NAME@REVISION`."""

import re
from dataclasses import dataclass
from typing import Self

from fmae_zoo.errors import ArgumentError

HUB_PREFIX = "hf://"
ZOO_TAG = "fmae-zoo"
"""Tag in the card of every model that `push` publishes."""

DEFAULT_REVISION = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(
    r"(?!.*(--|\.\.|\.git$))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_]([\w.-]{0,94}\w)?", re.ASCII
)
_REVISION = re.compile(r"(?!(.*/)?\.+(/|$))[\w.-]+(/[\w.-]+)*", re.ASCII)


@dataclass(frozen=True)
class HubAddress:
    """A repo on the Hub at a revision.

    Attributes:
        repo: Name of the repo, `NAMESPACE/NAME`.
        revision: Branch, tag or commit hash (40 hexadecimal digits).
    """

    repo: str
    revision: str = DEFAULT_REVISION

    def __post_init__(self) -> None:
        check_repo(self.repo)
        check_revision("revision", self.revision)

    def __str__(self) -> str:
        return f"{HUB_PREFIX}{self.repo}@{self.revision}"

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a commit hash, whose meaning never changes."""
        return COMMIT.fullmatch(self.revision) is not None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address for `hf://NAMESPACE/NAME` or `hf://NAMESPACE/NAME@REVISION`.

        Raises:
            ArgumentError: The text is not such an address.
        """
        repo, separator, revision = text.removeprefix(HUB_PREFIX).partition("@")
        if not text.startswith(HUB_PREFIX) or (separator and not revision):
            raise ArgumentError(
                f"{text!r} is no address on the Hub; expected hf://NAMESPACE/NAME[@REVISION]"
            )
        return cls(repo, revision or DEFAULT_REVISION)


def check_repo(repo: object) -> None:
    """Raise an error unless `repo` is a valid name, `NAMESPACE/NAME`.

    Raises:
        ArgumentError: The name is not valid; the message shows it.
    """
    if not isinstance(repo, str) or not _REPO.fullmatch(repo):
        raise ArgumentError(
            f"{repo!r} is no repo on the Hub; expected NAMESPACE/NAME, of letters, digits, "
            "'-', '_' and '.'"
        )


def check_revision(name: str, revision: object) -> None:
    """Raise an error unless `revision` can be a branch, a tag or a commit.

    Raises:
        ArgumentError: It cannot; the message names the argument and the value.
    """
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
        raise ArgumentError(f"{name} is {revision!r}; expected a branch, a tag or a commit")


def check_new_name(name: str, value: object) -> None:
    """Raise an error if a new tag or branch name is not valid or is ambiguous.

    Raises:
        ArgumentError: The name is not valid, looks like a commit hash, begins with `refs/`, or is
            `main` for a tag.
    """
    check_revision(name, value)
    taken = name == "tag" and value == DEFAULT_REVISION
    if taken or COMMIT.fullmatch(str(value)) or str(value).startswith("refs/"):
        raise ArgumentError(f"{name} is {value!r}, which names a commit or a branch already")
