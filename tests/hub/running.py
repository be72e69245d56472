"""The Hub of this test process: imported before the Hub's client, which reads these once."""

import atexit
import os
import shutil
import tempfile

from tests.hub import LocalHub

HUB = LocalHub().start()
HOME = tempfile.mkdtemp(prefix="fmae-hub-")

for _variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
    os.environ.pop(_variable, None)
os.environ.update(
    HF_ENDPOINT=HUB.url,
    HF_HOME=HOME,
    HF_HUB_DISABLE_TELEMETRY="1",
    NO_PROXY="127.0.0.1,localhost",
    no_proxy="127.0.0.1,localhost",
)
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
atexit.register(HUB.stop)
