"""The Hugging Face Hub: publish an entry to it, and get one back, verified.

The public functions are in `push.py`, `pull.py`, `search.py` and `publish.py`. `address.py` and
`options.py` describe a request. `client.py` sends it, with the time limit of `limits.py`, bounded
retries, and the zoo's own errors, which `failures.py` makes. `repo.py` and `entry.py` fetch and
verify files; `contents.py` prepares them, and `publisher.py` and `branch.py` send them.
"""
