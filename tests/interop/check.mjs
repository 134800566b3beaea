// jose for Node.js verifies our tokens, and makes tokens for us to verify. Called by `cargo xtask interop` with the folder of the
// exchange and the folder in which jose is installed.
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [folder, installed] = process.argv.slice(2);
const jose = await import(pathToFileURL(createRequire(path.join(installed, "x.js")).resolve("jose")));

const ALGORITHMS = ["EdDSA", "ES256", "RS256", "HS256"];
const SUBJECT = "Ægir 🔑";
const ours = JSON.parse(fs.readFileSync(path.join(folder, "ours.json")));

// The last character but one carries six bits of the signature.
const forged = (token) => token.slice(0, -2) + (token.at(-2) === "A" ? "B" : "A") + token.at(-1);

for (const key of ours.jwks.keys) {
  assert.equal(await jose.calculateJwkThumbprint(key), key.kid, "our kid is the thumbprint of RFC 7638");
}
const published = jose.createLocalJWKSet(ours.jwks);
const secret = await jose.importJWK(ours.secret);
for (const { alg, token, claims } of ours.tokens) {
  const key = alg === "HS256" ? secret : published;
  const options = { issuer: ours.issuer, audience: ours.audience, typ: "at+jwt", algorithms: [alg] };
  const verified = await jose.jwtVerify(token, key, options);
  assert.deepEqual(verified.payload, claims);
  await assert.rejects(jose.jwtVerify(forged(token), key, options), jose.errors.JWSSignatureVerificationFailed);
  const elsewhere = { ...options, audience: "https://other.example" };
  await assert.rejects(jose.jwtVerify(token, key, elsewhere), jose.errors.JWTClaimValidationFailed);
  console.log(`jose: our ${alg} verified`);
}

const theirs = { jwks: { keys: [] }, secret: null, tokens: [] };
for (const alg of ALGORITHMS) {
  const key = alg === "HS256"
    ? await jose.generateSecret(alg, { extractable: true })
    : (await jose.generateKeyPair(alg, { extractable: true }));
  const jwk = await jose.exportJWK(key.publicKey ?? key);
  jwk.kid = await jose.calculateJwkThumbprint(jwk);
  // The key set of an issuer names the algorithm, or does not.
  if (alg !== "ES256") jwk.alg = alg;
  if (alg === "HS256") theirs.secret = jwk;
  else theirs.jwks.keys.push({ ...jwk, use: "sig" });
  const claims = { sid: "01936f5e-7c00-7a00-8000-00000000000a", gen: 3, uep: [1, 2], gep: [3, 4] };
  const token = await new jose.SignJWT(claims)
    .setProtectedHeader({ alg, kid: jwk.kid, typ: "at+jwt" })
    .setIssuer(ours.issuer)
    .setAudience(ours.audience)
    .setSubject(SUBJECT)
    .setIssuedAt()
    .setNotBefore("0s")
    .setExpirationTime("10m")
    .setJti("one")
    .sign(key.privateKey ?? key);
  theirs.tokens.push({ alg, token, sub: SUBJECT });
}
fs.writeFileSync(path.join(folder, "theirs", "jose.json"), JSON.stringify(theirs));

// Proofs of possession (RFC 9449), each with a fresh key, for an access token and for a request without one.
const target = "https://api.example/accounts";
const accessToken = theirs.tokens[0].token;
const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(accessToken)));
const ath = jose.base64url.encode(digest);
const proofs = [];
for (const alg of ["EdDSA", "ES256", "RS256"]) {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  const jwk = await jose.exportJWK(publicKey);
  const prove = (claims) => new jose.SignJWT({ htm: "GET", htu: target, ...claims })
    .setProtectedHeader({ alg, typ: "dpop+jwt", jwk })
    .setJti(crypto.randomUUID())
    .setIssuedAt()
    .sign(privateKey);
  const thumbprint = await jose.calculateJwkThumbprint(jwk);
  proofs.push({ alg, thumbprint, bound: await prove({ ath }), free: await prove({}) });
}
fs.writeFileSync(path.join(folder, "proofs.json"), JSON.stringify({ target, accessToken, proofs }));
