"""Running Keras models: the same layers and results, by calls that suit each backend.

All: `fit` and `evaluate` are loops of their own over arrays, whose batches NumPy cuts. Keras'
input pipelines cost a dense network as much as its training step, and on TensorFlow run in
threads that the step then lacks, which takes up to twice as long. A dense network's step takes no
longer than Keras' calls do, so several are taken in one.

PyTorch (`on_torch`): Keras copies each activation twice around every channels-last convolution
and pooling, computes BatchNorm from several unfused operations, and spends longer on calling a
dense layer than the layer takes. Here the same layers hand torch a permuted view, which is
torch's own channels-last layout, and call its fused operations, one after another. A dense
network's steps are recorded as a graph (`torch_graph`); Adam is one operation (`torch_adam`).

TensorFlow (`on_tensorflow`): BatchNorm and Adam are TensorFlow's fused operations. With a CPU's
library for convolutions these are faster than what XLA makes of them; without convolutions XLA is.

JAX (`on_jax`): XLA's default library for convolutions on CPUs takes twice as long as the one
before it, so functions are compiled without it, and what the compiler worked with is given back
before the first step (`memory`). While Keras runs a model on JAX, the model's variables hold
nothing; an error or an interrupt would leave them so, and here gives them back.

`plain_keras` leaves all that out: the tests compare with it.
"""

from fmae_zoo.accelerate.calls import accelerated as accelerated
from fmae_zoo.accelerate.calls import completed as completed
from fmae_zoo.accelerate.calls import convolved as convolved
from fmae_zoo.accelerate.loop import evaluate as evaluate
from fmae_zoo.accelerate.loop import fit as fit
from fmae_zoo.accelerate.plain import is_plain as is_plain
from fmae_zoo.accelerate.plain import plain_keras as plain_keras
