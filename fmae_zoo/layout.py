"""Names of the files in the folder of an entry."""

from fmae_zoo.head import HEAD_FILE

ENCODER_FILE = "encoder.safetensors"
DECODER_FILE = "decoder.safetensors"
CRITIC_FILE = "critic.safetensors"
"""Weights of the objective itself, if it has any."""
SAMPLERS_FILE = "samplers.safetensors"
"""Samplers fitted to the codes after the training."""
CLASSIFIER_FILE = "classifier.safetensors"
GOLDEN_FILE = "golden.safetensors"
PARTS = ("encoder", "decoder")
HISTORY_FILE = "history.csv"
CURVES_FILE = "curves.png"
CHECKPOINT_FILE = "checkpoint.safetensors"
LOG_FILE = "training.log"
"""What the process of a training prints, if it is one of many."""
TRAINING_FILES = (HISTORY_FILE, CURVES_FILE)
KERAS_FILES = ("config.json", "metadata.json", "model.weights.h5")
"""Encoder or classifier in Keras' own format, added by `push`."""
RECONSTRUCTIONS_FILE = "reconstructions.png"
DRAWS_FILE = "draws.png"
INTERPOLATIONS_FILE = "interpolations.png"
TRAVERSALS_FILE = "traversals.png"
PICTURE_FILES = (RECONSTRUCTIONS_FILE, DRAWS_FILE, INTERPOLATIONS_FILE, TRAVERSALS_FILE)
"""Pictures of the model's images, drawn by `push` for the card."""
REPORT_FILES = ("report.json", "confusion-frozen.png", "confusion-fine-tuned.png")
"""Files that `fmae classify` writes beside a classifier."""
VALUE_FILE = "objective.json"
"""Value of the objective of a sweep, written beside each of its trained models."""
LOGS_FOLDER = "logs"
"""Folder of TensorBoard's files in the output folder of a training."""
CARD_FILE = "README.md"
RECORDED_FILES = (
    HEAD_FILE,
    ENCODER_FILE,
    DECODER_FILE,
    CRITIC_FILE,
    SAMPLERS_FILE,
    CLASSIFIER_FILE,
    GOLDEN_FILE,
    *TRAINING_FILES,
    *KERAS_FILES,
    *PICTURE_FILES,
)
"""Files whose digests the manifest records, if they exist."""


def weights_files_of(is_classifier: bool) -> tuple[str, ...]:
    """Return the names of the weights files of a classifier or of an autoencoder."""
    return (CLASSIFIER_FILE,) if is_classifier else (ENCODER_FILE, DECODER_FILE)
