"""What users of Hugging Face's libraries call, on top of `load`, `save` and `push`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fmae_zoo.arguments import check_folder
from fmae_zoo.errors import ArgumentError
from fmae_zoo.hub.address import HUB_PREFIX
from fmae_zoo.hub.options import TIMEOUT
from fmae_zoo.registry import LOCAL_PREFIX
from fmae_zoo.spec import SPEC_FILE

if TYPE_CHECKING:
    from fmae_zoo.hub.publisher import Pushed

_Mixin: Any = object


class Pretrained(_Mixin):
    """Mixed into `Autoencoder` and `Classifier`: to and from folders and repos on the Hub."""

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
        """Return a model with its weights: from a folder, a repo on the Hub, or by its name.

        Args:
            source: a folder that `save_pretrained` wrote; a repo `NAMESPACE/NAME`; or what
                `fmae_zoo.load` takes.
            revision: branch, tag or commit of the repo.
            token, cache_dir, local_files_only, timeout, precision: as of `fmae_zoo.load`.

        Raises:
            ArgumentError: the source holds a model of the other class.
            FmaeError: as `fmae_zoo.load`.
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
        """Write the model into a folder, and return this; as `fmae_zoo.save`.

        Raises:
            FmaeError: the folder is of another model, or a weight is not finite.
            OSError: it cannot be written.
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
        """Publish the model on the Hub with its card; as `fmae_zoo.push`.

        Args:
            repo_id: `NAMESPACE/NAME`; made where it does not exist.
            commit_message: of the commit.
            private, token, branch, create_pr, tag, timeout: as of `fmae_zoo.push`.

        Returns:
            The URL, with the commit, and whether it is new.

        Raises:
            FmaeError: as `fmae_zoo.push`.
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
    """Return what `load` takes: a folder first, as Hugging Face's libraries do."""
    if not isinstance(source, str) or source.startswith((HUB_PREFIX, LOCAL_PREFIX)):
        return source
    folder = check_folder("source", source)
    if source.startswith((".", "~", "/")) or (folder / SPEC_FILE).is_file():
        return folder
    return f"{HUB_PREFIX}{source}" if source.count("/") == 1 else source
