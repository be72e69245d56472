"""Training: the loop behind every `fit`, and runs that are recorded and resumed.

`loop` is what `Autoencoder.fit` and `Classifier.fit` call, `inputs` checks what they are given,
`trainable` is what both models have of it; `run` is `fmae_zoo.train`, with the `optimizer` of a
recipe and a `checkpoint` each epoch; `classification` is what classifiers are trained with.
"""
