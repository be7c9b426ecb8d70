"""Ask for answers again and again, over a new connection each: `client.py URL KEY TARGET SECONDS`.

Runs in a pod and prints one line of JSON at the end: how many were asked for, and what failed.
"""

import collections
import json
import sys
import time
import urllib.error
import urllib.request

SENSORS = {"audio": {"sample": "digit-7"}, "vision": {"sample": "digit-7"}}
PAUSE_S = 0.02


def ask(url, key, target):
    body = {"model": "av_digits", "target": target, "sensors": SENSORS, "quantise": True}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/v1/fuse", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            label = json.load(reply)["windows"][-1]["label"]
            return None if label == "7" else f"label {label}"
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read().decode(errors='replace')[:300]}"
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def main():
    url, key, target, seconds = sys.argv[1:]
    end = time.monotonic() + float(seconds)
    asked, failed = 0, collections.Counter()
    while asked == 0 or time.monotonic() < end:
        asked += 1
        if (why := ask(url, key, target)) is not None:
            failed[why] += 1
        time.sleep(PAUSE_S)
    print(json.dumps({"asked": asked, "failed": failed}))


main()
