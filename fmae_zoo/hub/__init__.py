"""The Hugging Face Hub: publish an entry to it, and get one back, verified.

`address.py` and `options.py` say what is wanted. `client.py` asks the Hub, with a time limit,
bounded retries and the zoo's own errors, which `failures.py` makes. `repo.py` and `entry.py` fetch
and verify files; `contents.py` prepares them and `publisher.py` sends them. The public functions
are in `push.py`, `pull.py`, `search.py` and `publish.py`.
"""
