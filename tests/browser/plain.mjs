// The same without JavaScript: whatever the script does, a page that is loaded again says as well.
import assert from "node:assert/strict";
import { test } from "node:test";

import { PHONE } from "./bench.mjs";

const BOB = "bob@example.org";

export function plain(bench) {
  test("without JavaScript devices are listed and ended", async () => {
    const laptop = await bench.person({ javaScriptEnabled: false });
    const phone = await bench.person({ javaScriptEnabled: false, userAgent: PHONE });
    await laptop.register(BOB);
    for (const person of [laptop, phone]) {
      await person.signIn(BOB);
      await person.is("/devices");
    }
    await laptop.page.reload();
    assert.deepEqual(await laptop.devices(), ["Firefox on Linux", "Safari on iOS"]);
    assert.ok(await laptop.page.getByText("does not show yet").isHidden());
    await laptop.press("Sign out Safari on iOS");
    await laptop.is("/devices?notice=session-ended");
    assert.deepEqual(await laptop.devices(), ["Firefox on Linux"]);
    await phone.page.reload();
    await phone.is("/sign-in?notice=session-over");
    await laptop.press("Sign out");
    await laptop.is("/sign-in?notice=signed-out");
    assert.deepEqual(await laptop.cookies(), ["device"]);
    await laptop.leave();
    await phone.leave();
  });
}
