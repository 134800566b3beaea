// oidc-provider as a provider of our reference service, by https with a certificate made here: connect, renew, give back. Called by
// `cargo xtask interop` with a new folder, the folder in which oidc-provider is installed, and the service's program.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, installed, program] = process.argv.slice(2);
const { default: Provider } = await import(
  pathToFileURL(createRequire(path.join(installed, "x.js")).resolve("oidc-provider"))
);

const CLIENT = { id: "reference service", secret: "s3cret:/+ % of more than thirty-two characters" };
const PASSWORD = "Correct-Horse-7";

// A certificate for this machine, which the service is told to trust.
const [key, certificate] = ["key.pem", "certificate.pem"].map((name) => path.join(folder, name));
execFileSync("openssl", [
  "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
  "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate,
], { stdio: "pipe" });
const ca = fs.readFileSync(certificate);

let handle = (_, response) => response.writeHead(503).end();
const listener = https.createServer({ key: fs.readFileSync(key), cert: ca }, (request, response) => handle(request, response));
await once(listener.listen(0, "localhost"), "listening");
const issuer = `https://localhost:${listener.address().port}`;

const config = path.join(folder, "server.toml");
// Without the prompt, no refresh token is given.
fs.writeFileSync(config, `
[providers.acme]
name = "Acme"
client_id = "${CLIENT.id}"
client_secret = "${CLIENT.secret}"
auth_url = "${issuer}/auth?prompt=consent"
token_url = "${issuer}/token"
revocation_url = "${issuer}/token/revocation"
issuer = "${issuer}"
scopes = ["openid", "offline_access"]
`, { mode: 0o600 });
const data = path.join(folder, "data");
const server = spawn(program, ["--listen", "127.0.0.1:0", "--data", data, "--config", config], {
  env: { ...process.env, SSL_CERT_FILE: certificate },
  stdio: ["ignore", "pipe", fs.openSync(path.join(folder, "server.log"), "w")],
});

// One request, without following redirects.
const request = (url, { method = "GET", headers = {}, body, json, form } = {}) => new Promise((resolve, reject) => {
  const text = json ? JSON.stringify(json) : form ? new URLSearchParams(form).toString() : body;
  const type = json ? "application/json" : form ? "application/x-www-form-urlencoded" : undefined;
  const all = { "user-agent": "interop", ...(type && { "content-type": type }), ...headers };
  const sent = (url.startsWith("https:") ? https : http).request(url, { method, headers: all, ca }, (response) => {
    const parts = [];
    response.on("data", (part) => parts.push(part));
    response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(parts).toString() }));
  });
  sent.on("error", reject);
  sent.end(text);
});

// A browser: cookies, redirects, and a person who signs in at the provider and agrees to everything.
class Browser {
  cookies = new Map();

  async send(url, options = {}) {
    for (let steps = 0; steps < 20; steps++) {
      const jar = this.cookies.get(new URL(url).origin) ?? new Map();
      this.cookies.set(new URL(url).origin, jar);
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
      const headers = { accept: "text/html", "sec-fetch-mode": "navigate", "sec-fetch-site": "same-origin", ...(cookie && { cookie }) };
      const answer = await request(url, { ...options, headers: { ...headers, ...options.headers } });
      for (const line of answer.headers["set-cookie"] ?? []) {
        const [name, value] = line.split(";")[0].split(/=(.*)/s);
        value ? jar.set(name, value) : jar.delete(name);
      }
      const action = answer.text.match(/action="([^"]*\/interaction\/[^"]*)"/)?.[1];
      if (answer.headers.location) {
        [url, options] = [new URL(answer.headers.location, url).href, {}];
      } else if (action) {
        const prompt = answer.text.match(/name="prompt" value="([^"]*)"/)[1];
        [url, options] = [new URL(action, url).href, { method: "POST", form: { prompt, login: "ann", password: "x" } }];
      } else {
        return { ...answer, url };
      }
    }
    throw new Error(`no end of redirects: ${url}`);
  }
}

try {
  const [line] = await Promise.race([
    once(readline.createInterface({ input: server.stdout }), "line"),
    once(server, "exit").then(([status]) => { throw new Error(`the service ended with status ${status}`); }),
  ]);
  const origin = line.replace("listening on ", "");
  const api = (method, where, token, json) =>
    request(`${origin}/api/v1${where}`, { method, json, headers: token ? { authorization: `Bearer ${token}` } : {} })
      .then((answer) => ({ ...answer, json: answer.text ? JSON.parse(answer.text) : null }));

  const provider = new Provider(issuer, {
    clients: [{
      client_id: CLIENT.id,
      client_secret: CLIENT.secret,
      redirect_uris: [`${origin}/api/v1/providers/acme/authorization/callback`],
      grant_types: ["authorization_code", "refresh_token"],
      token_endpoint_auth_method: "client_secret_basic",
    }],
    pkce: { methods: ["S256"], required: () => true },
    features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
    rotateRefreshToken: true,
    cookies: { keys: ["interop"] },
  });
  const said = [];
  provider.use(async (context, next) => {
    await next();
    if (context.path.startsWith("/token")) said.push(`${context.path} ${context.status}`);
  });
  const destroyed = [];
  provider.on("refresh_token.destroyed", (token) => destroyed.push(token.jti));
  provider.on("grant.revoked", (_, grant) => destroyed.push(grant));
  let grant;
  provider.on("grant.success", (context) => { grant = context.oidc.entities.Grant; });
  handle = provider.callback();

  // An account.
  const email = "ann@example.org";
  await api("POST", "/auth/register", null, { email, password: PASSWORD, name: "Ann" });
  const [mail] = fs.readdirSync(path.join(data, "mail"));
  const link = fs.readFileSync(path.join(data, "mail", mail), "utf8").match(/\?token=([\w-]+)/)[1];
  assert.equal((await api("POST", "/auth/verify-email", null, { token: link })).status, 200);
  const { access_token: token } = (await api("POST", "/auth/login", null, { email, password: PASSWORD })).json;

  // A program begins; its user's browser is not signed in here, and is asked.
  const { id } = (await api("POST", "/providers", token, { provider_key: "acme", alias: "a" })).json;
  const where = `/providers/${id}/authorization`;
  const { auth_url: url } = (await api("POST", where, token)).json;
  const browser = new Browser();
  const question = await browser.send(url);
  assert.match(question.text, /Is this your account\?/, `${question.url}\n${question.text}`);
  assert.match(question.text, /ann@example\.org/);
  const hidden = [...question.text.matchAll(/name="(\w+)" value="([^"]*)"/g)].map(([, name, value]) => [name, value]);
  const answer = await browser.send(`${origin}/connections/finish`, { method: "POST", form: Object.fromEntries(hidden) });
  assert.deepEqual([answer.status, said], [200, ["/token 200"]], answer.text);
  const status = (await api("GET", where, token)).json;
  assert.deepEqual([status.status, status.scope.split(" ").sort()], ["active", ["offline_access", "openid"]]);
  console.log("oidc-provider: connected by code, PKCE, client secret and issuer");

  // It rotates refresh tokens, and takes one that is used twice for stolen.
  for (let round = 0; round < 3; round++) {
    const renewed = await Promise.all(Array.from({ length: 5 }, () => api("PATCH", where, token)));
    assert.deepEqual(renewed.map(({ status }) => status), [200, 200, 200, 200, 200]);
  }
  assert.ok(said.every((one) => one === "/token 200") && said.length >= 4, said.join());
  console.log("oidc-provider: its rotating refresh token renewed, five times at once");

  said.length = destroyed.length = 0;
  assert.equal((await api("DELETE", where, token)).status, 204);
  assert.deepEqual(said, ["/token/revocation 200", "/token/revocation 200"]);
  assert.ok(destroyed.length > 0);
  assert.equal((await api("GET", where, token)).json.status, "disconnected");
  console.log("oidc-provider: given back");

  // By the pages, where the cookie of the session binds both ends.
  await browser.send(`${origin}/sign-in`, { method: "POST", form: { email, password: PASSWORD } });
  const back = await browser.send(`${origin}/connections/${id}/connect`, { method: "POST" });
  assert.equal(back.url, `${origin}/connections?notice=connected`, back.text);
  assert.equal((await api("GET", where, token)).json.status, "active");

  // The user changes their mind over there.
  await grant.destroy();
  const refused = await api("PATCH", where, token);
  assert.deepEqual([refused.status, refused.json.type], [502, "urn:session-manager:problem:provider-refused"]);
  assert.equal((await api("GET", where, token)).json.status, "expired");
  console.log("oidc-provider: a grant that was withdrawn over there has expired here");
} catch (error) {
  console.error(fs.readFileSync(path.join(folder, "server.log"), "utf8"));
  throw error;
} finally {
  server.kill();
  listener.closeAllConnections();
  listener.close();
}
