"""Methods with the names of Hugging Face's libraries, based on `load`, `save` and `push`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fmae_zoo.arguments import check_folder
from fmae_zoo.errors import ArgumentError
from fmae_zoo.hub.address import HUB_PREFIX
from fmae_zoo.hub.options import TIMEOUT
from fmae_zoo.registry import LOCAL_PREFIX
from fmae_zoo.spec import SPEC_FILE

if TYPE_CHECKING:
    from fmae_zoo.hub.push import Pushed

_Mixin: Any = object


class Pretrained(_Mixin):
    """Mixin of `Autoencoder` and `Classifier` to load and save folders and repos on the Hub."""

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        timeout: float = TIMEOUT,
        precision: str | None = None,
    ) -> Self:
        """Return a model with its weights, from a folder, from a repo on the Hub or by name.

        Args:
            source: A folder written by `save_pretrained`, a repo `NAMESPACE/NAME`, or a source
                of `fmae_zoo.load`.
            revision: Branch, tag or commit of the repo.
            token, cache_dir, local_files_only, timeout, precision: As for `fmae_zoo.load`.

        Raises:
            ArgumentError: The source holds a model of the other class.
            FmaeError: As for `fmae_zoo.load`.
        """
        from fmae_zoo.loading import load

        model = load(
            _source(source),
            pretrained=True,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            timeout=timeout,
            precision=precision,
        )
        if not isinstance(model, cls):
            raise ArgumentError(
                f"{source} is of the class {type(model).__name__}: load it with "
                f"{type(model).__name__}.from_pretrained"
            )
        return model

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the model into a folder as `fmae_zoo.save` does, and return the folder.

        Raises:
            FmaeError: The folder holds another model, or a weight is not finite.
            OSError: The folder cannot be written.
        """
        from fmae_zoo.saving import save

        return save(self, folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        branch: str | None = None,
        create_pr: bool = False,
        tag: str | None = None,
        timeout: float = TIMEOUT,
    ) -> "Pushed":
        """Publish the model on the Hub with its card, as `fmae_zoo.push` does.

        Args:
            repo_id: Repo `NAMESPACE/NAME`, created if it does not exist.
            commit_message: Message of the commit.
            private, token, branch, create_pr, tag, timeout: As for `fmae_zoo.push`.

        Returns:
            The URL, with the commit, and whether it is new.

        Raises:
            FmaeError: As for `fmae_zoo.push`.
        """
        from fmae_zoo.hub.push import push

        return push(
            self,
            repo_id,
            message=commit_message,
            private=private,
            token=token,
            branch=branch,
            create_pr=create_pr,
            tag=tag,
            timeout=timeout,
        )


def _source(source: str | Path) -> str | Path:
    """Return a source for `load`; a folder precedes a repo, as in Hugging Face's libraries."""
    if not isinstance(source, str) or source.startswith((HUB_PREFIX, LOCAL_PREFIX)):
        return source
    folder = check_folder("source", source)
    if source.startswith((".", "~", "/")) or (folder / SPEC_FILE).is_file():
        return folder
    return f"{HUB_PREFIX}{source}" if source.count("/") == 1 else source
