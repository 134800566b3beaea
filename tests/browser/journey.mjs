// From registration to the end of every session, with two devices that see what the other does.
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";

import { PHONE, PHONE_SIZE } from "./bench.mjs";

const ANN = "ann@example.org";

export function journey(bench) {
  let laptop;
  let phone;

  test("an account is made, confirmed by mail, and used on two devices", async () => {
    laptop = await bench.person();
    phone = await bench.person({ userAgent: PHONE, viewport: PHONE_SIZE, hasTouch: true, isMobile: true });
    await laptop.page.goto("/");
    await laptop.is("/sign-in");
    await laptop.register(ANN);
    await laptop.signIn(ANN);
    await laptop.is("/devices");
    assert.deepEqual(await laptop.devices(), ["Firefox on Linux"]);
    await phone.signIn(ANN);
    await phone.is("/devices");
    assert.deepEqual(await phone.devices(), ["Safari on iOS", "Firefox on Linux"]);
    await laptop.page.reload();
    assert.deepEqual(await laptop.devices(), ["Firefox on Linux", "Safari on iOS"]);
  });

  test("a device that is ended elsewhere goes to the sign-in page by itself", async () => {
    await laptop.press("Sign out Safari on iOS");
    await laptop.is("/devices?notice=session-ended");
    assert.deepEqual(await laptop.devices(), ["Firefox on Linux"]);
    await phone.is("/sign-in?notice=session-over");
    await phone.page.getByText("Your session has ended.").waitFor();
  });

  test("a device that signs out leaves the other's list by itself", async () => {
    await phone.signIn(ANN);
    await phone.is("/devices");
    await laptop.page.goto("/devices");
    await laptop.page.getByRole("heading", { name: "2 active sessions" }).waitFor();
    const button = laptop.page.getByRole("button", { name: "Sign out Safari on iOS" });
    await button.focus();
    await phone.press("Sign out");
    await phone.is("/sign-in?notice=signed-out");
    await button.waitFor({ state: "detached" });
    assert.deepEqual(await laptop.devices(), ["Firefox on Linux"]);
    assert.equal(await laptop.page.getByRole("status").textContent(), "Signed out: Safari on iOS.");
    const heading = laptop.page.getByRole("heading", { name: "1 active session", exact: true });
    assert.ok(await heading.evaluate((element) => element === document.activeElement), "the focus is where the count is");
    assert.equal(await laptop.page.getByRole("button", { name: "Sign out others" }).count(), 0, "there are no others");
    await laptop.page.screenshot({ path: path.join(bench.screenshots, "devices-changed.png") });
    assert.deepEqual(await phone.cookies(), ["device"]);
  });

  test("a page that was hidden is up to date when it is seen again", async () => {
    const show = (hidden) =>
      laptop.page.evaluate((hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    await show(true);
    await phone.signIn(ANN);
    await phone.is("/devices");
    await show(false);
    await laptop.page.getByRole("heading", { name: "2 active sessions" }).waitFor();
    await laptop.page.getByRole("link", { name: "Show it" }).click();
    await laptop.page.getByRole("button", { name: "Sign out Safari on iOS" }).waitFor();
    assert.deepEqual(await laptop.devices(), ["Firefox on Linux", "Safari on iOS"]);
    await show(true);
    await phone.press("Sign out");
    await phone.is("/sign-in?notice=signed-out");
    assert.equal((await laptop.devices()).length, 2, "nobody looks");
    await show(false);
    await laptop.page.getByRole("heading", { name: "1 active session", exact: true }).waitFor();
  });

  test("signing out everywhere signs both out, and removes the cookies", async () => {
    await phone.signIn(ANN);
    await phone.is("/devices");
    await laptop.page.goto("/devices");
    assert.deepEqual(await phone.cookies(), ["device", "renewal", "session"]);
    await phone.press("Sign out everywhere");
    await phone.is("/sign-in?notice=signed-out-everywhere");
    await laptop.is("/sign-in?notice=session-over");
    assert.deepEqual(await phone.cookies(), ["device"]);
    for (const person of [phone, laptop]) {
      await person.page.goto("/devices");
      assert.equal(new URL(person.page.url()).pathname, "/sign-in");
    }
    await phone.leave();
    await laptop.leave();
  });
}
