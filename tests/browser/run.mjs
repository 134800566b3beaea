// The pages in a real browser. Called by `cargo xtask browser` with the server's program, the browser's, the folder in which the libraries
// are installed, and the folder for screenshots.
import { after } from "node:test";

import { Bench } from "./bench.mjs";
import { accessibility } from "./accessibility.mjs";
import { cookies } from "./cookies.mjs";
import { journey } from "./journey.mjs";
import { plain } from "./plain.mjs";

/// Whatever hangs, the whole ends by then. It takes 40 s where others build beside it.
const LIMIT = 120_000;

const [program, browser, installed, screenshots] = process.argv.slice(2);
const bench = await Bench.start({ program, browser, installed, screenshots });
setTimeout(() => {
  console.error(`not done after ${LIMIT / 1000} s`);
  process.exit(1);
}, LIMIT).unref();

journey(bench);
plain(bench);
cookies(bench);
accessibility(bench);

after(() => bench.stop());
