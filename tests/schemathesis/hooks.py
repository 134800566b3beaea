"""Signs in, and again after each request that may have ended the session."""

import os
import secrets

import requests
import schemathesis

ENDING = ("POST /api/v1/auth/logout", "DELETE ", "PATCH /api/v1/auth/me/password", "POST /api/v1/auth/reauthenticate")

# A device that signed in before is not slowed down by the wrong passwords that are tried meanwhile.
DEVICE = {"device": secrets.token_urlsafe(32)}


@schemathesis.auth(refresh_interval=None)
class Bearer:
    token = None

    def get(self, case, context):
        token = self.token or sign_in()
        self.token = None if context.operation.label.startswith(ENDING) else token
        return token

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


def sign_in():
    body = {"email": os.environ["CHECKED_EMAIL"], "password": os.environ["CHECKED_PASSWORD"]}
    answer = requests.post(f"{os.environ['CHECKED_BASE']}/api/v1/auth/login", json=body, cookies=DEVICE, timeout=30)
    answer.raise_for_status()
    return answer.json()["access_token"]
