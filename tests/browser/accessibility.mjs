// Each page by axe-core, by keyboard, and as a picture: on a desktop and a phone, light and dark.
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";

import { ADMINISTRATOR as DAN, DESKTOP_SIZE, PHONE, PHONE_SIZE } from "./bench.mjs";

const LONG = "Mozilla/5.0 an unusual client with a name that goes on and on without any end that a list could be glad of";

/// A name for the picture, and how one gets there.
const OUTSIDE = [
  ["sign-in", (person) => person.page.goto("/sign-in")],
  ["sign-in-notice", (person) => person.page.goto("/sign-in?notice=signed-out-everywhere")],
  ["sign-in-refused", (person) => person.signIn("nobody@example.org", "x")],
  ["register", (person) => person.page.goto("/register")],
  ["register-wrong", (person) => registerWrongly(person.page)],
  ["verify-email", (person) => person.page.goto("/verify-email?token=x")],
  ["dead-link", (person) => person.page.goto("/verify-email")],
  ["forgot-password", (person) => person.page.goto("/forgot-password")],
  ["reset-password", (person) => person.page.goto("/reset-password?token=x")],
  ["docs", (person) => person.page.goto("/docs")],
  ["nothing-here", (person) => person.page.goto("/nothing-here")],
];
const INSIDE = [
  ["devices", (person) => person.page.goto("/devices")],
  ["connections", (person) => person.page.goto("/connections")],
  ["admin", (person) => person.page.goto("/admin?email=example")],
  ["account", async (person) => {
    await person.page.goto("/admin?email=example");
    await person.page.locator('a[href^="/admin/users/"]').first().click();
  }],
  ["devices-notice", (person) => person.page.goto("/devices?notice=session-ended")],
];

/// Which rules a page is checked by: in the dark nothing is another way but the colours.
const ALL = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const COLOURS = ["cat.color"];
const LOOKS = [
  ["desktop-light", DESKTOP_SIZE, "light", ALL],
  ["desktop-dark", DESKTOP_SIZE, "dark", COLOURS],
  ["phone-dark", PHONE_SIZE, "dark", COLOURS],
  ["phone-light", PHONE_SIZE, "light", ALL],
];
/// As narrow as standards ask for (WCAG 2.2, 1.4.10).
const NARROWEST = { width: 320, height: 640 };

export function accessibility(bench) {
  let session;

  test("an account with devices to look at", async () => {
    const owner = await bench.person();
    await owner.register(DAN);
    for (const userAgent of [PHONE, LONG]) {
      const other = await bench.person({ userAgent });
      await other.signIn(DAN);
      await other.is("/devices");
      await other.leave();
    }
    await owner.signIn(DAN);
    await owner.is("/devices");
    session = await owner.context.storageState();
    await owner.leave();
  });

  for (const [who, pages] of [["visitors", OUTSIDE], ["who is signed in", INSIDE]]) {
    test(`axe-core finds nothing, and nothing sticks out, on the pages for ${who}`, async () => {
      // Without movement, so that nothing is looked at on its way to another colour.
      const person = await bench.person({ reducedMotion: "reduce", storageState: pages === INSIDE ? session : undefined });
      const { page } = person;
      for (const [name, go] of pages) {
        await go(person);
        for (const [look, size, colorScheme, rules] of LOOKS) {
          await page.setViewportSize(size);
          await page.emulateMedia({ colorScheme });
          assert.deepEqual(await bench.violations(page, rules), [], `${name}-${look}`);
          assert.deepEqual(await page.evaluate(stickingOut), [], `${name}-${look}`);
          await page.screenshot({ path: path.join(bench.screenshots, `${name}-${look}.png`), fullPage: true });
        }
        await page.setViewportSize(NARROWEST);
        assert.deepEqual(await page.evaluate(stickingOut), [], name);
      }
      await person.leave();
    });
  }

  test("the keyboard reaches everything, in order, and one sees where it is", async () => {
    for (const colorScheme of ["light", "dark"]) {
      const visitor = await bench.person({ colorScheme });
      await visitor.page.goto("/sign-in");
      const stops = await tabbed(visitor.page);
      const names = stops.map((stop) => stop.name);
      const form = ["email", "password", "remember", "Sign in", "Forgot your password?"];
      const expected = ["Skip to content", "Session Manager", "Create an account", ...form];
      assert.deepEqual(names, expected);
      assert.deepEqual(stops.filter((stop) => stop.contrast < 3), [], "a focus that one does not see");
      await visitor.page.keyboard.press("Tab");
      await visitor.page.keyboard.press("Enter");
      assert.equal(await visitor.page.evaluate(() => document.activeElement.id), "main");
      await visitor.leave();
      const owner = await bench.person({ colorScheme, storageState: session });
      await owner.page.goto("/devices");
      const all = await tabbed(owner.page);
      assert.deepEqual(all.slice(-2).map((stop) => stop.name), ["Sign out everywhere", "Administration"]);
      assert.deepEqual(all.filter((stop) => stop.contrast < 3), []);
      await owner.leave();
    }
  });

  test("who wants no movement gets none", async () => {
    const owner = await bench.person({ reducedMotion: "reduce", storageState: session });
    await owner.page.goto("/devices");
    await owner.page.evaluate(() => (document.getElementById("said").textContent = "x"));
    const moving = await owner.page.evaluate(() => {
      const all = [...document.querySelectorAll("*")].map((element) => getComputedStyle(element));
      return all.filter((style) => style.animationName !== "none" || parseFloat(style.transitionDuration) > 0).length;
    });
    assert.equal(moving, 0);
    await owner.leave();
  });

  test("a page that is left open does not keep the server from ending", async () => {
    const owner = await bench.person({ storageState: session });
    const opened = owner.page.waitForResponse((response) => response.url().endsWith("/devices/events"));
    await owner.page.goto("/devices");
    assert.equal((await opened).status(), 200);
    await bench.server.stop();
  });
}

async function registerWrongly(page) {
  await page.goto("/register");
  // The browser's own checks would not let this pass.
  await page.locator("form").evaluate((form) => (form.noValidate = true));
  await page.getByLabel("E-mail address").fill("nobody");
  await page.getByLabel("Password").fill("password");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByText("must not be empty").waitFor();
}

/// Elements that are wider than the window. Evaluated in the page.
function stickingOut() {
  const width = document.documentElement.clientWidth;
  const isOut = ({ left, right, width: own }) => own > 0 && (right > width + 1 || (left < -1 && right > 0));
  const wide = [...document.querySelectorAll("body *")].filter((element) => !element.closest(".hidden") && isOut(element.getBoundingClientRect()));
  return wide.map((element) => `${element.tagName} ${element.className}`);
}

/// Every stop of the tabulator, with the contrast of its outline to the ground around it.
async function tabbed(page) {
  const stops = [];
  for (let count = 0; count < 40; count += 1) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(focused);
    if (!stop) break;
    stops.push(stop);
  }
  return stops;
}

/// Evaluated in the page.
function focused() {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let ground = element.parentElement;
  const isClear = (colour) => numbers(colour)[3] === 0;
  while (ground && isClear(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
  const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
  const seen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  const [one, other] = [outlineColor, getComputedStyle(ground).backgroundColor].map((colour) => luminance(numbers(colour)));
  const contrast = seen ? (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) : 1;
  return { name: element.name || element.textContent.trim(), contrast };
}
