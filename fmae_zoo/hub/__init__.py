"""The Hugging Face Hub: publish entries to it, and fetch verified entries from it.

The public functions are in `push.py`, `pull.py`, `search.py` and `publish.py`. `address.py` and
`options.py` describe a request. `client.py` sends it with bounded retries and the time limit of
`limits.py`; `failures.py` translates failures into the zoo's own errors. `repo.py` and `entry.py`
fetch and verify files; `contents.py` prepares files, and `publisher.py` and `branch.py` send them.
"""
