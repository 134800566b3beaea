// Keeps "Your devices" up to date while somebody looks at it: sessions that end elsewhere leave the list, and when this one ends, the page
// is asked for again. Without this script the page says the same whenever it is loaded.
"use strict";

(() => {
  const RETRY = 60_000;
  const count = document.getElementById("active");
  const said = document.getElementById("said");
  const unshown = document.getElementById("unshown");
  const others = document.querySelector('form[action="/devices/end-others"]')?.closest(".choice");
  let source;
  let again;

  function show(live) {
    const rows = [...document.querySelectorAll("[data-session]")];
    const gone = rows.filter((row) => !live.has(row.dataset.session) && !row.matches(".current"));
    const shown = rows.length - gone.length;
    count.textContent = live.size === 1 ? "1 active session" : `${live.size} active sessions`;
    unshown.hidden = live.size <= shown;
    if (others) others.hidden = live.size === 1;
    if (gone.length === 0) return;
    // The focus goes to the heading and not to the next button: that would end another session.
    if (gone.some((row) => row.contains(document.activeElement))) count.focus();
    const names = gone.map((row) => row.querySelector("h3").textContent);
    for (const row of gone) row.remove();
    said.textContent = names.length === 1 ? `Signed out: ${names[0]}.` : `Signed out: ${names.length} devices.`;
  }

  function open() {
    clearTimeout(again);
    // A page that nobody sees needs no connection, of which a browser has few.
    if (document.hidden || (source && source.readyState !== EventSource.CLOSED)) return;
    const mine = new EventSource("/devices/events");
    source = mine;
    mine.addEventListener("sessions", (event) => show(new Set(event.data.split(" "))));
    mine.addEventListener("over", () => {
      mine.close();
      location.replace("/devices");
    });
    mine.addEventListener("error", () => {
      // A connection that broke is opened again by the browser; one that was refused is not.
      if (mine.readyState === EventSource.CLOSED) again = setTimeout(open, RETRY);
    });
  }

  function close() {
    clearTimeout(again);
    source?.close();
  }

  function look() {
    if (document.hidden) close();
    else open();
  }

  document.addEventListener("visibilitychange", look);
  // Whoever signs out here is on the way already: that the session is over must not lead them elsewhere.
  document.addEventListener("submit", () => {
    document.removeEventListener("visibilitychange", look);
    close();
  });
  open();
})();
