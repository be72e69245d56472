"""What users of Hugging Face's libraries call, on top of `load`, `save` and `push`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fmae_zoo.errors import ArgumentError

if TYPE_CHECKING:
    from fmae_zoo.hub.publisher import Pushed

_Mixin: Any = object


class Pretrained(_Mixin):
    """Mixed into `Autoencoder` and `Classifier`: to and from folders and repos on the Hub."""

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, revision: str | None = None, **options: Any
    ) -> Self:
        """Return a model with its weights: from a folder, a repo on the Hub, or by its name.

        Args:
            source: a folder that `save_pretrained` wrote; a repo `NAMESPACE/NAME`; or what
                `fmae_zoo.load` takes.
            revision: branch, tag or commit of the repo.
            options: `token`, `cache_dir`, `local_files_only`, `timeout` and `precision`, as
                `fmae_zoo.load` takes them.

        Raises:
            ArgumentError: the source holds a model of the other class.
            FmaeError: as `fmae_zoo.load`.
        """
        from fmae_zoo.loading import load

        model = load(_source(source), pretrained=True, revision=revision, **options)
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
        self, repo_id: str, *, commit_message: str | None = None, **options: Any
    ) -> "Pushed":
        """Publish the model on the Hub with its card; as `fmae_zoo.push`.

        Args:
            repo_id: `NAMESPACE/NAME`; made where it does not exist.
            commit_message: of the commit.
            options: `private`, `tag`, `branch`, `create_pr`, `token`, `timeout` and `dry_run`, as
                `fmae_zoo.push` takes them.

        Returns:
            The URL, with the commit, and whether it is new.

        Raises:
            FmaeError: as `fmae_zoo.push`.
        """
        from fmae_zoo.hub.push import push

        return push(self, repo_id, message=commit_message, **options)


def _source(source: str | Path) -> str | Path:
    """Return what `load` takes: a folder first, as Hugging Face's libraries do."""
    if not isinstance(source, str) or source.startswith(("hf://", "local:")):
        return source
    if Path(source).expanduser().is_dir():
        return Path(source).expanduser()
    return f"hf://{source}" if source.count("/") == 1 else source
