"""Entries: reading the folder of a model, and building the model in it."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmae_zoo.errors import ArgumentError, NoWeightsError, SpecError, WeightsError
from fmae_zoo.files import has_digest
from fmae_zoo.head import HEAD_FILE, Head
from fmae_zoo.hub.options import DEFAULT_OPTIONS, HubOptions
from fmae_zoo.layout import CARD_FILE, CRITIC_FILE, SAMPLERS_FILE, weights_files_of
from fmae_zoo.manifest import MANIFEST_FILE, FileRecord, Manifest
from fmae_zoo.spec import SPEC_FILE, ModelSpec

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.classifier import Classifier


@dataclass(frozen=True)
class Entry:
    """A spec and, if there is one, the folder with its weights and manifest.

    The entry holds an autoencoder, or a classifier on its encoder if the manifest records the
    description of a head.

    Attributes:
        spec: Spec of the autoencoder.
        folder: Folder of the weights and the manifest, or None.
        options: Options for requests to the Hub, which has files that the folder lacks.
    """

    spec: ModelSpec
    folder: Path | None = None
    options: HubOptions = DEFAULT_OPTIONS

    @classmethod
    def read(cls, folder: str | Path) -> "Entry":
        """Read the entry in a folder.

        Raises:
            SpecError: The folder has no valid spec.toml.
        """
        folder = Path(folder)
        return cls(ModelSpec.from_toml(folder / SPEC_FILE), folder)

    @property
    def pretrained(self) -> bool:
        """Whether the folder records trained weights."""
        return self.folder is not None and (self.folder / MANIFEST_FILE).is_file()

    @property
    def manifest(self) -> Manifest:
        """Manifest of the entry, read from the folder at each access.

        Raises:
            NoWeightsError: The entry was never trained.
            SpecError: The manifest is damaged or belongs to another model.
        """
        if not self.pretrained:
            raise NoWeightsError(
                f"{self.spec.full_name} has no pretrained weights. Train it with: "
                f"fmae train {self.folder or self.spec.full_name}"
            )
        assert self.folder is not None
        manifest = Manifest.read(self.folder)
        if (manifest.name, manifest.tag) != (self.spec.name, self.spec.tag):
            raise SpecError(
                f"{self.folder / MANIFEST_FILE}: name, tag: expected {self.spec.full_name}; "
                f"received {manifest.name}.{manifest.tag}"
            )
        return manifest

    @property
    def is_classifier(self) -> bool:
        """Whether the entry holds a classifier on the spec's encoder.

        Raises:
            SpecError: As for `manifest`.
        """
        return self.pretrained and HEAD_FILE in self.manifest.files

    @property
    def head(self) -> Head | None:
        """Description of a classifier's head, verified; None for an autoencoder.

        Raises:
            SpecError: The description or the manifest is damaged.
            WeightsError: The description does not have the digest that the manifest records.
            HubError: The Hub does not return the file.
        """
        return Head.read(*self.file(HEAD_FILE)) if self.is_classifier else None

    @property
    def title(self) -> str:
        """Full name of the spec, as `a classifier on NAME` if the entry is a classifier."""
        return title_of(self.spec, self.is_classifier)

    @property
    def weights_files(self) -> tuple[str, ...]:
        """Names of the files that hold the weights."""
        own = weights_files_of(self.is_classifier)
        return (*own, CRITIC_FILE) if CRITIC_FILE in self.manifest.files else own

    @property
    def read_only(self) -> bool:
        """Whether the folder must not be written to."""
        return False

    def check_spec(self) -> None:
        """Raise if the spec was edited after the weights were trained.

        Raises:
            NoWeightsError: The entry was never trained.
            SpecError: The manifest has the digest of another spec, or is damaged.
        """
        expected = self.manifest.spec_sha256
        if expected and expected != self.spec.digest:
            raise SpecError(
                f"{self.folder}: {SPEC_FILE} was edited: it is not the one that the weights were "
                f"trained by, whose digest {MANIFEST_FILE} has as spec_sha256.\n"
                f"  expected {expected}\n  received {self.spec.digest}\n"
                f"Put the {SPEC_FILE} of the training back, or train by this one: "
                f"fmae train {self.folder} -o ANOTHER_FOLDER"
            )

    def record(self, name: str) -> FileRecord:
        """Return the size and digest that a file of the entry must have.

        Raises:
            NoWeightsError: The manifest does not record the file.
        """
        record = self.manifest.files.get(name)
        if record is None:
            raise NoWeightsError(f"{self.spec.full_name}: its manifest records no {name}")
        return record

    def file(self, name: str) -> tuple[Path, str]:
        """Return the path of a file of the entry and the digest that it must have.

        Raises:
            NoWeightsError: The manifest does not record the file.
        """
        record = self.record(name)
        assert self.folder is not None
        return self.folder / name, record.sha256

    def obtain(self, *names: str) -> list[tuple[Path, str]]:
        """Return the path and digest of each file, fetching missing or damaged files from the Hub.

        They are fetched at the commit that the manifest pins. No request is made if the entry is
        not published or if all files in the folder have the recorded digest.

        Raises:
            NoWeightsError: The manifest does not record a file.
            SpecError: The spec is not the one that the weights were trained with.
            HubError: The Hub does not return a file.
        """
        self.check_spec()
        found = [self.file(name) for name in names]
        pin = self.manifest.hub
        if not pin.commit or all(has_digest(*each) for each in found):
            return found
        from fmae_zoo.hub.address import HubAddress
        from fmae_zoo.hub.repo import Repo

        published = Repo.open(HubAddress(pin.repo, pin.commit), self.options)
        return [
            (path if has_digest(path, digest) else published.file(name, self.record(name)), digest)
            for name, (path, digest) in zip(names, found)
        ]

    def card(self) -> str | None:
        """Return the text of the model card, or None if there is none.

        Raises:
            SpecError: The card cannot be read.
        """
        path = self.folder / CARD_FILE if self.folder else None
        if path is None or not path.is_file():
            return None
        try:
            return path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: cannot be read: {error}") from None

    def build(
        self,
        pretrained: bool = False,
        part: str | None = None,
        seed: int = 0,
        precision: str | None = None,
    ) -> Any:
        """Build the model or one part of it, and read its weights if `pretrained`.

        For a part, only the file of that part is read. The default precision is float32, or for
        a classifier the precision it was saved with.

        Raises:
            NoWeightsError: Pretrained weights are asked for and there are none.
            WeightsError: The weights are damaged or do not fit the model.
            ArgumentError: A part of a classifier is asked for, or there is no such precision.
        """
        from fmae_zoo.autoencoder import Autoencoder
        from fmae_zoo.layers import without_random_weights
        from fmae_zoo.precision import resolve
        from fmae_zoo.weights import load_weights

        if self.is_classifier:
            if part is not None:
                raise ArgumentError(
                    f"{self.title}: expected an autoencoder, because a classifier is loaded "
                    f"whole, and not its {part} alone"
                )
            return self._build_classifier(pretrained, seed, precision)
        policy = resolve("float32" if precision is None else precision)
        if not pretrained:
            model = Autoencoder(self.spec, seed=seed, dtype=policy)
            return model if part is None else getattr(model, part)
        with without_random_weights():
            model = Autoencoder(self.spec, seed=seed, dtype=policy)
        wanted = {name: each for name, each in model.parts().items() if part in (None, name)}
        files = self.obtain(*(f"{name}.safetensors" for name in wanted))
        for variables, file in zip(wanted.values(), files):
            load_weights(variables, *file)
        if part is not None:
            return getattr(model, part)
        self._give_samplers(model)
        return model

    def _give_samplers(self, model: "Autoencoder") -> None:
        """Give a model its fitted samplers and the name of its default sampler.

        Raises:
            WeightsError: The samplers are damaged, or the manifest names one that is missing.
        """
        from fmae_zoo.samplers import read_samplers

        manifest = self.manifest
        if SAMPLERS_FILE in manifest.files:
            [file] = self.obtain(SAMPLERS_FILE)
            model.fitted = read_samplers(*file, self.spec.latent.size)
        try:
            model.sampler = manifest.sampler or None
        except ArgumentError as error:
            raise WeightsError(f"{self.folder}: {error}") from None

    def _build_classifier(self, pretrained: bool, seed: int, precision: str | None) -> "Classifier":
        from fmae_zoo.autoencoder import Autoencoder
        from fmae_zoo.layers import without_random_weights
        from fmae_zoo.precision import resolve
        from fmae_zoo.weights import load_weights

        described, *weights = self.obtain(HEAD_FILE, *(self.weights_files if pretrained else ()))
        changes: dict[str, Any] = {} if pretrained else {"seed": seed}
        if precision is not None:
            resolve(precision)
            changes["precision"] = precision
        head = Head.read(*described).model_copy(update=changes)
        with without_random_weights() if pretrained else nullcontext():
            model = head.build(Autoencoder(self.spec, seed=seed).encoder)
        for file in weights:
            load_weights(model, *file)
        return model


def title_of(spec: ModelSpec, is_classifier: bool) -> str:
    """Return what a folder or repo holds: a full name, or `a classifier on NAME`."""
    return f"a classifier on {spec.full_name}" if is_classifier else spec.full_name
