"""Options of requests to the Hub: token, cache folder and time limit."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from fmae_zoo.arguments import check_file, check_folder, check_number
from fmae_zoo.errors import ArgumentError
from fmae_zoo.files import regular

TIMEOUT = 300.0
"""Default number of seconds that one public call may spend on the Hub."""

_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class HubOptions:
    """Options of requests to the Hub.

    Attributes:
        token: Token of the user; by default the one in `HF_TOKEN` or saved by `hf auth login`.
            False sends no token.
        cache_dir: Folder of the cache; by default that of `huggingface_hub`, set by `HF_HUB_CACHE`.
        local_files_only: Whether to use only the cache and make no request.
        timeout: Seconds that may be spent on the Hub in total; 300 by default.
    """

    token: str | bool | None = field(default=None, repr=False)
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        if isinstance(self.token, str) and not _TOKEN.fullmatch(self.token):
            # The token itself is never shown.
            raise ArgumentError("token is empty, or holds a space, a line break or a control code")
        if not isinstance(self.token, (str, bool, type(None))):
            raise ArgumentError(f"token is a {type(self.token).__name__}; expected text")
        if self.cache_dir is not None:
            check_folder("cache_dir", self.cache_dir)
        if not isinstance(self.local_files_only, bool):
            raise ArgumentError(
                f"local_files_only is {self.local_files_only!r}; expected True or False"
            )
        if self.timeout != math.inf:
            check_number("timeout", self.timeout, zero=False)

    @property
    def offline(self) -> bool:
        """Whether requests are forbidden, by `local_files_only` or `HF_HUB_OFFLINE`."""
        from huggingface_hub import constants

        return self.local_files_only or constants.is_offline_mode()

    @property
    def cache(self) -> Path:
        """The folder of the cache.

        Raises:
            ArgumentError: The path begins with `~`, and there is no home folder.
        """
        from huggingface_hub import constants

        if self.cache_dir is None:
            return check_folder("HF_HUB_CACHE", constants.HF_HUB_CACHE)
        return check_folder("cache_dir", self.cache_dir)


DEFAULT_OPTIONS = HubOptions()


def read_token(path: str | Path) -> str:
    """Return the token in a file.

    Raises:
        ArgumentError: The file cannot be read, is not a regular file, or is not exactly one token.
    """
    path = check_file("token file", path)
    try:
        token = regular(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{path}: the token cannot be read: {error}") from None
    if not _TOKEN.fullmatch(token):
        raise ArgumentError(f"{path}: expected one token and nothing else")
    return token
