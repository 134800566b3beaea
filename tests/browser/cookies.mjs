// The cookies of a service under https. The browser takes this machine for as good as https, so that no certificate is needed.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Server } from "./bench.mjs";

const CAROL = "carol@example.org";

export function cookies(bench) {
  test("cookies with the prefixes of https are kept, and removed at sign-out", async () => {
    const server = await Server.start(bench.program, "public_url=https://localhost");
    try {
      server.url = `http://localhost:${server.port}`;
      const laptop = await bench.person({}, server);
      await laptop.register(CAROL);
      await laptop.signIn(CAROL);
      await laptop.is("/devices");
      assert.deepEqual(await laptop.cookies(), ["__Host-device", "__Host-session", "__Secure-renewal"]);
      for (const cookie of await laptop.context.cookies()) {
        const { httpOnly, secure, sameSite, path } = cookie;
        assert.deepEqual({ httpOnly, secure, sameSite, path }, { httpOnly: true, secure: true, sameSite: "Lax", path: "/" });
      }
      await laptop.press("Sign out");
      await laptop.is("/sign-in?notice=signed-out");
      assert.deepEqual(await laptop.cookies(), ["__Host-device"]);
      await laptop.leave();
    } finally {
      await server.stop();
    }
  });
}
