"""Sweeps: many trainings of one model with other values of its spec, and the best of them.

Optuna chooses the values and keeps the study; `pip install "fmae-zoo[sweep]"` installs it. All
choices are made on the validation images.
"""
