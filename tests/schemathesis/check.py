"""Starts the server, signs a user up, and lets Schemathesis ask every endpoint of its OpenAPI document.

Arguments: the server's program, an empty folder for its data, the Schemathesis program.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.request

HERE = pathlib.Path(__file__).parent
EMAIL = "ann@example.org"
PASSWORD = "Correct-Horse-7"
CASES = "25"
SEED = "1"


def post(base: str, path: str, body: dict) -> dict:
    request = urllib.request.Request(
        f"{base}/api/v1{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def main() -> int:
    server, data, schemathesis = sys.argv[1:]
    # Limits would answer most of what follows. They have their own tests.
    settings = ["rate_limits.enabled=false", "policy.access_token_lifetime=1h", "policy.max_sessions=1000"]
    options = [word for setting in settings for word in ("--set", setting)]
    command = [server, "--listen", "127.0.0.1:0", "--data", data, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SESSION_MANAGER__")}
    log = pathlib.Path(data).with_suffix(".log").open("w", encoding="utf-8")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as child:
        try:
            base = child.stdout.readline().strip().removeprefix("listening on ")
            post(base, "/auth/register", {"email": EMAIL, "password": PASSWORD, "name": "Ann"})
            mail = next(pathlib.Path(data, "mail").glob("*.eml")).read_text(encoding="utf-8")
            token = re.search(r"verify-email\?token=([A-Za-z0-9_-]+)", mail).group(1)
            post(base, "/auth/verify-email", {"token": token})
            environment |= {
                "SCHEMATHESIS_HOOKS": "hooks",
                "PYTHONPATH": str(HERE),
                "CHECKED_BASE": base,
                "CHECKED_EMAIL": EMAIL,
                "CHECKED_PASSWORD": PASSWORD,
            }
            run = [schemathesis, "--config-file", str(HERE / "schemathesis.toml"), "run", f"{base}/openapi.json"]
            run += ["--seed", SEED, "--max-examples", CASES, "--continue-on-failure"]
            return subprocess.run(run, env=environment, cwd=pathlib.Path(data).parent, check=False).returncode
        finally:
            child.terminate()


if __name__ == "__main__":
    sys.exit(main())
