"""Trainings and encodings on the machines of a Ray cluster.

`pip install "fmae-zoo[ray]"` installs Ray; nothing else of the package imports it.
"""
