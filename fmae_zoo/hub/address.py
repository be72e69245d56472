"""`hf://org/repo@revision`."""

import re
from dataclasses import dataclass
from typing import Self

from fmae_zoo.errors import ArgumentError

HUB_PREFIX = "hf://"
ZOO_TAG = "fmae-zoo"
"""The tag in the card of every model that `push` published."""

DEFAULT_REVISION = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_]([\w.-]{0,94}\w)?", re.ASCII)
_REVISION = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)


@dataclass(frozen=True)
class HubAddress:
    """A repo on the Hub at a revision.

    Attributes:
        repo: `NAMESPACE/NAME`.
        revision: a branch, a tag, or a commit (40 hexadecimal digits).
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
        """Whether the revision can never mean anything else."""
        return COMMIT.fullmatch(self.revision) is not None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `hf://NAMESPACE/NAME` or `hf://NAMESPACE/NAME@REVISION`.

        Raises:
            ArgumentError: it is none.
        """
        repo, separator, revision = text.removeprefix(HUB_PREFIX).partition("@")
        if not text.startswith(HUB_PREFIX) or (separator and not revision):
            raise ArgumentError(
                f"{text!r} is no address on the Hub; expected hf://NAMESPACE/NAME or "
                "hf://NAMESPACE/NAME@REVISION"
            )
        return cls(repo, revision or DEFAULT_REVISION)


def check_repo(repo: object) -> None:
    """Refuse what is no `NAMESPACE/NAME`.

    Raises:
        ArgumentError: naming it.
    """
    whole = isinstance(repo, str) and _REPO.fullmatch(repo) is not None
    if not whole or "--" in str(repo) or ".." in str(repo) or str(repo).endswith(".git"):
        raise ArgumentError(
            f"{repo!r} is no repo on the Hub; expected NAMESPACE/NAME, of letters, digits, "
            "'-', '_' and '.'"
        )


def check_revision(name: str, revision: object) -> None:
    """Refuse what can be no branch, tag or commit.

    Raises:
        ArgumentError: naming the argument and the value.
    """
    whole = isinstance(revision, str) and _REVISION.fullmatch(revision) is not None
    if not whole or any(set(part) == {"."} for part in str(revision).split("/")):
        raise ArgumentError(f"{name} is {revision!r}; expected a branch, a tag or a commit")


def check_new_name(name: str, value: object) -> None:
    """Refuse a name for a tag or a branch that could be taken for something else.

    Raises:
        ArgumentError: it is no such name, or looks like a commit or a reference.
    """
    check_revision(name, value)
    taken = name == "tag" and value == DEFAULT_REVISION
    if taken or COMMIT.fullmatch(str(value)) or str(value).startswith("refs/"):
        raise ArgumentError(f"{name} is {value!r}, which names a commit or a branch already")
