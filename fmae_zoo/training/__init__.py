"""Training of autoencoders and classifiers by `fit`, and resumable runs by `train`.

The training loop is Keras' own. `trainable` sets it up for the backend; `inputs` checks the data,
`epochs` reads arrays in batches, `state` restores variables after an error. `autoencoding` and
`classifying` add `compile`, `fit` and `evaluate` to the two models; `classification` has the
classifier's loss, recipe, labels and weights. `run` is `fmae_zoo.train`; its `loop` uses the
`optimizer` of the recipe and writes a `checkpoint` after each epoch. `devices` divides the batches
of a run among several devices, on PyTorch by the processes of `replicas`. `many` trains several
models.
"""
