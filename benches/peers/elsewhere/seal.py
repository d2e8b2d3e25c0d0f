"""itsdangerous and Django's signing (both sign and do not encrypt) over the JSON files named on
the command line."""

import json
import secrets
import sys
import time
from pathlib import Path

from django.conf import settings
from django.core import signing
from itsdangerous import URLSafeTimedSerializer

TIMES = 3000


def microseconds(work):
    for _ in range(TIMES // 10):
        work()
    start = time.perf_counter_ns()
    for _ in range(TIMES):
        work()
    return (time.perf_counter_ns() - start) / 1000 / TIMES


settings.configure(SECRET_KEY=secrets.token_urlsafe(48))
serializer = URLSafeTimedSerializer(secrets.token_urlsafe(48))

for file in map(Path, sys.argv[1:]):
    data = json.loads(file.read_text())
    for name, seal, open_ in (
        ("itsdangerous", lambda: serializer.dumps(data), lambda token: serializer.loads(token, max_age=60)),
        ("Django signing", lambda: signing.dumps(data), lambda token: signing.loads(token, max_age=60)),
    ):
        token = seal()
        assert open_(token) == data
        print(f"| {name} | {file.stem} | {microseconds(lambda: open_(token)):.2f} | {microseconds(seal):.2f} | {len(token)} |")
