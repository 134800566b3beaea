"""PyJWT and joserfc verify our tokens, and make tokens for us to verify. Called by `cargo xtask interop` with the folder."""

import base64
import json
import pathlib
import sys
import time

import joserfc.errors
import jwt
from joserfc import jwk as jose_jwk
from joserfc import jwt as jose_jwt

ALGORITHMS = ["EdDSA", "ES256", "RS256", "HS256"]
SUBJECT = "Ægir \U0001f511"


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    ours = json.loads((folder / "ours.json").read_text())
    assert [token["alg"] for token in ours["tokens"]] == ALGORITHMS
    pyjwt_verifies(ours)
    joserfc_verifies(ours)
    theirs = folder / "theirs"
    theirs.mkdir(exist_ok=True)
    keys = make_keys()
    (theirs / "pyjwt.json").write_text(json.dumps(pyjwt_makes(ours, keys)))
    (theirs / "joserfc.json").write_text(json.dumps(joserfc_makes(ours, keys)))


def forged(token: str) -> str:
    """The last character but one carries six bits of the signature."""
    return token[:-2] + ("B" if token[-2] == "A" else "A") + token[-1]


def must_fail(errors, call) -> None:
    try:
        call()
    except errors:
        return
    raise AssertionError("a token was accepted that must be refused")


def pyjwt_verifies(ours) -> None:
    keys = jwt.PyJWKSet.from_dict({"keys": ours["jwks"]["keys"] + [ours["secret"]]})
    by_kid = {key.key_id: key for key in keys.keys}
    assert len(by_kid) == 4
    for token in ours["tokens"]:
        text, alg = token["token"], token["alg"]
        header = jwt.get_unverified_header(text)
        assert header == {"alg": alg, "kid": token["kid"], "typ": "at+jwt"}, header

        def decode(text=text, alg=alg, header=header, audience=ours["audience"]):
            return jwt.decode(
                text,
                by_kid[header["kid"]].key,
                algorithms=[alg],
                audience=audience,
                issuer=ours["issuer"],
                options={"require": ["exp", "iat", "nbf", "iss", "aud", "sub", "jti"]},
            )

        assert decode() == token["claims"]
        must_fail(jwt.InvalidSignatureError, lambda: decode(text=forged(text)))
        must_fail(jwt.InvalidAudienceError, lambda: decode(audience="https://other.example"))
        print(f"PyJWT {jwt.__version__}: our {alg} verified")


def joserfc_verifies(ours) -> None:
    keys = jose_jwk.KeySet.import_key_set({"keys": ours["jwks"]["keys"] + [ours["secret"]]})
    for key in keys.keys[:3]:
        assert key.thumbprint() == key.kid, "our kid is the thumbprint of RFC 7638"
    claims = jose_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ours["issuer"]}, aud={"essential": True, "value": ours["audience"]}
    )
    for token in ours["tokens"]:
        decoded = jose_jwt.decode(token["token"], keys, algorithms=ALGORITHMS)
        assert decoded.claims == token["claims"]
        assert decoded.header["typ"] == "at+jwt"
        claims.validate(decoded.claims)
        must_fail(
            joserfc.errors.BadSignatureError,
            lambda: jose_jwt.decode(forged(token["token"]), keys, algorithms=ALGORITHMS),
        )
        print(f"joserfc: our {token['alg']} verified")


def make_keys():
    """Of each algorithm; the names are joserfc's thumbprints."""
    made = [
        ("EdDSA", jose_jwk.OKPKey.generate_key("Ed25519", private=True)),
        ("ES256", jose_jwk.ECKey.generate_key("P-256", private=True)),
        ("RS256", jose_jwk.RSAKey.generate_key(2048, private=True)),
        ("HS256", jose_jwk.OctKey.generate_key(256)),
    ]
    keys = []
    for alg, key in made:
        members = key.as_dict(private=True)
        members["kid"] = key.thumbprint()
        keys.append((alg, members))
    return keys


PRIVATE = {"d", "p", "q", "dp", "dq", "qi"}


def published(keys):
    public = [{name: value for name, value in key.items() if name not in PRIVATE} for _, key in keys[:3]]
    return {"jwks": {"keys": public}, "secret": keys[3][1]}


def claims_for(ours):
    now = int(time.time())
    return {
        "iss": ours["issuer"],
        "aud": [ours["audience"], "https://another.example"],
        "sub": SUBJECT,
        "sid": "01936f5e-7c00-7a00-8000-00000000000a",
        "jti": base64.urlsafe_b64encode(str(now).encode()).decode(),
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "gen": 3,
        "uep": [1, 2],
        "gep": [3, 4],
    }


def pyjwt_makes(ours, keys):
    tokens = []
    for alg, key in keys:
        signing = jwt.PyJWK.from_dict({**key, "alg": alg}).key
        text = jwt.encode(claims_for(ours), signing, algorithm=alg, headers={"kid": key["kid"], "typ": "at+jwt"})
        tokens.append({"alg": alg, "token": text, "sub": SUBJECT})
    return {**published(keys), "tokens": tokens}


def joserfc_makes(ours, keys):
    tokens = []
    for alg, key in keys:
        header = {"typ": "application/at+jwt", "kid": key["kid"], "alg": alg}
        text = jose_jwt.encode(header, claims_for(ours), jose_jwk.import_key(key), algorithms=ALGORITHMS)
        tokens.append({"alg": alg, "token": text, "sub": SUBJECT})
    return {**published(keys), "tokens": tokens}


main()
