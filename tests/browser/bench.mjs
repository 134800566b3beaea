// What the tests stand on: servers and a browser, each a process of our own, and the people in front of them.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/// Nothing that a page does takes longer.
const PATIENCE = 15_000;
/// A server that waits for an open page would take ten seconds to end.
const END = 8_000;

export const PASSWORD = "Correct-Horse-7";
export const LAPTOP = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
export const PHONE =
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1";
/// Who sees the administration.
export const ADMINISTRATOR = "dan.with-a-rather-long-address@accounts.example.org";
export const DESKTOP_SIZE = { width: 1280, height: 860 };
export const PHONE_SIZE = { width: 360, height: 740 };

/// A server with a data folder of its own.
export class Server {
  #child;
  #data;
  #ended;
  #log = [];

  static async start(program, ...settings) {
    const server = new Server();
    server.#data = fs.mkdtempSync(path.join(os.tmpdir(), "session-manager-browser-"));
    // A developer's own settings must not reach the tests.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SESSION_MANAGER__")));
    const args = ["--listen", "127.0.0.1:0", "--data", server.#data, ...settings.flatMap((setting) => ["--set", setting])];
    server.#child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    server.#ended = new Promise((resolve) => server.#child.on("close", resolve));
    process.on("exit", () => server.#forget());
    readline.createInterface({ input: server.#child.stderr }).on("line", (line) => server.#log.push(line));
    const lines = readline.createInterface({ input: server.#child.stdout });
    const first = await Promise.race([new Promise((resolve) => lines.once("line", resolve)), server.#ended]);
    server.port = /^listening on http:\/\/127\.0\.0\.1:(\d+)$/.exec(first)?.[1];
    assert.ok(server.port, `not listening: ${first}\n${server.#log.join("\n")}`);
    server.url = `http://127.0.0.1:${server.port}`;
    return server;
  }

  /// The path of the link in the newest mail that has one there.
  mailed(page) {
    const folder = path.join(this.#data, "mail");
    for (const name of fs.readdirSync(folder).sort().reverse()) {
      const link = new RegExp(`/${page}\\?token=[\\w-]+`).exec(fs.readFileSync(path.join(folder, name), "utf8"));
      if (link) return link[0];
    }
    return assert.fail(`no mail leads to /${page}`);
  }

  /// Asks it to end, and insists that it does so in good order.
  async stop() {
    const begun = Date.now();
    const late = setTimeout(() => this.#child.kill("SIGKILL"), END);
    this.#child.kill("SIGTERM");
    // Nothing happens to one that has ended already.
    const code = await this.#ended;
    clearTimeout(late);
    assert.equal(code, 0, `the server ended with ${code} after ${Date.now() - begun} ms\n${this.#log.slice(-20).join("\n")}`);
    this.#forget();
  }

  #forget() {
    this.#child.kill("SIGKILL");
    fs.rmSync(this.#data, { recursive: true, force: true });
  }
}

/// A server and a browser for all tests.
export class Bench {
  #browser;
  #profile;
  #axe;

  static async start({ program, browser, installed, screenshots }) {
    const bench = new Bench();
    const require = createRequire(path.join(installed, "x.js"));
    bench.program = program;
    bench.screenshots = screenshots;
    fs.rmSync(screenshots, { recursive: true, force: true });
    fs.mkdirSync(screenshots, { recursive: true });
    bench.#axe = require("axe-core").source;
    // One machine signs in here more often than one address may.
    bench.server = await Server.start(program, "rate_limits.enabled=false", `admin.email=${ADMINISTRATOR}`);
    bench.#browser = await require("playwright-core").chromium.launch({ executablePath: browser, args: FLAGS, timeout: 20_000 });
    return bench;
  }

  async stop() {
    await this.#browser.close();
    await this.server.stop();
  }

  /// A person in front of a browser of their own: nothing is in it but what they do.
  async person(options = {}, server = this.server) {
    const context = await this.#browser.newContext({
      baseURL: server.url,
      userAgent: LAPTOP,
      viewport: DESKTOP_SIZE,
      ...options,
    });
    context.setDefaultTimeout(PATIENCE);
    return new Person(context, await context.newPage(), server);
  }

  /// What axe-core finds wrong with a page. Its text is evaluated by the debugger, so that the page's own policy stays as it is.
  async violations(page, rules) {
    if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(this.#axe);
    const { violations } = await page.evaluate(
      (runOnly) => window.axe.run(document, { runOnly, resultTypes: ["violations"] }),
      rules,
    );
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
  }
}

class Person {
  constructor(context, page, server) {
    this.context = context;
    this.page = page;
    this.server = server;
    /// What the console said is wrong. That a page was answered with an error is what some tests are for.
    this.errors = [];
    page.on("pageerror", (error) => this.errors.push(`${page.url()}: ${error}`));
    page.on("console", (message) => {
      const expected = /^Failed to load resource: the server responded with a status of 4/.test(message.text());
      const ofThePage = message.location().url === page.url();
      if (message.type() === "error" && !(expected && ofThePage)) this.errors.push(`${page.url()}: ${message.text()}`);
    });
  }

  async register(email) {
    await this.page.goto("/register");
    await this.page.getByLabel("Name", { exact: true }).fill("Ann");
    await this.page.getByLabel("E-mail address").fill(email);
    await this.page.getByLabel("Password").fill(PASSWORD);
    await this.press("Create account");
    await this.is("/sign-in?notice=check-mail");
    await this.page.goto(this.server.mailed("verify-email"));
    await this.press("Confirm address");
    await this.is("/sign-in?notice=verified");
  }

  async signIn(email, password = PASSWORD) {
    await this.page.goto("/sign-in");
    await this.page.getByLabel("E-mail address").fill(email);
    await this.page.getByLabel("Password").fill(password);
    await this.press("Sign in");
  }

  press(button) {
    return this.page.getByRole("button", { name: button, exact: true }).click();
  }

  /// Waits until the browser is on this page.
  is(address) {
    return this.page.waitForURL(new URL(address, this.page.url()).href);
  }

  /// The titles of the rows of "Your devices".
  devices() {
    return this.page.locator(".device h3").allTextContents();
  }

  async cookies() {
    return (await this.context.cookies()).map((cookie) => cookie.name).sort();
  }

  /// Leaves, and had nothing to complain about.
  async leave() {
    await this.context.close();
    assert.deepEqual(this.errors, []);
  }
}
