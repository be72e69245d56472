"""The Hugging Face Hub: publish entries to it, and fetch verified entries from it.

The public functions are in `push.py`, `pull.py`, `search.py` and `publish.py`. `address.py` and
`options.py` describe a request. `client.py` sends it with a time limit and bounded retries;
`errors.py` translates failures into the zoo's own errors. `repo.py` and `entry.py` fetch and verify
files, and `contents.py` prepares those that `push.py` sends.
"""
