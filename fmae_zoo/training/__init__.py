"""Training: what every `fit` reads and checks, and runs that are recorded and resumed.

The loop is Keras' own. `trainable` sets it up for the backend, for both models; `inputs` checks
what they are given, `epochs` reads arrays, `state` looks after the variables. `run` is
`fmae_zoo.train`, with the `optimizer` of a recipe and a `checkpoint` each epoch. `classification`
has what classifiers are trained with.
"""
