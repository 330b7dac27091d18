/* The live board. Without this script the page says how old it is and loads itself anew each half minute.
 *
 * Each update holds parts of the page by name and lines of bad ratings by id; what is told twice is shown once, and a
 * line whose rating no longer counts, or belongs to others since, goes. Only a rating that has just come is new and
 * heard; one that is told again changes its line, and one that the page would not begin with (`kept`) is changed where it
 * stands. A hidden tab closes its stream and goes on from where it was. What belongs to a person (the form's secret) is
 * put in here.
 */
"use strict";

(() => {
  const board = document.getElementById("live");
  if (!board || !window.EventSource) return;
  const state = document.getElementById("live-state");
  const list = document.getElementById("bad");
  const none = document.getElementById("no-bad");
  const button = document.getElementById("alert");
  const most = Number(board.dataset.most);
  const title = document.title;
  let cursor = board.dataset.cursor;
  let source = null;
  let retry = null;
  let flashing = null;
  let audio = null;

  // ── the stream ──────────────────────────────────────────────────────────────────────────────────────────────────

  function tell(word) {
    state.textContent = state.dataset[word];
    state.className = word === "live" ? "tag tag-good" : "tag tag-warn";
  }

  function open() {
    clearTimeout(retry);
    if (source || document.hidden) return;
    source = new EventSource(`${board.dataset.stream}?after=${encodeURIComponent(cursor)}`);
    source.addEventListener("board", (event) => {
      cursor = event.lastEventId;
      tell("live");
      const told = JSON.parse(event.data);
      for (const [name, html] of Object.entries(told.parts)) replacePart(name, html);
      if (told.whole) keepOnly(new Set(told.lines.map((line) => `r-${line.id}`)));
      told.lines.sort((one, other) => one.at - other.at).forEach(putLine);
      told.gone.forEach((id) => document.getElementById(`r-${id}`)?.remove());
      none.hidden = list.children.length > 0;
      if (told.day !== board.dataset.day) beginDay();
    });
    source.addEventListener("stalled", () => tell("stalled"));
    source.addEventListener("crowded", () => { close(); tell("crowded"); });
    for (const name of ["reload", "over"]) source.addEventListener(name, () => { close(); location.reload(); });
    source.onerror = () => {
      tell("lost");
      // A connection that was lost comes back by itself; an answer that was none, or a log-in that is over, does not.
      if (source && source.readyState === EventSource.CLOSED) { close(); retry = setTimeout(ask, 5000); }
    };
  }

  function close() {
    if (source) source.close();
    source = null;
  }

  function ask() {
    fetch(location.href, { redirect: "manual", cache: "no-store" }).then(
      (answer) => { if (answer.type === "opaqueredirect" || answer.status === 403) location.reload(); else open(); },
      () => { retry = setTimeout(ask, 5000); },
    );
  }

  // A new day: the whole page, not for all screens at the same moment, and not under somebody's hands.
  let morning = null;

  function beginDay() {
    if (morning) return;
    morning = setTimeout(() => {
      morning = null;
      if ([...list.querySelectorAll('input[name="note"]')].some((field) => field.value)) beginDay();
      else location.reload();
    }, 5000 + Math.random() * 55000);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); clearTimeout(retry); } else { calm(); open(); }
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);

  // ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────

  function mine(html) {
    const template = document.createElement("template");
    template.innerHTML = html.trim();
    for (const field of template.content.querySelectorAll('input[name="csrf"]')) field.value = board.dataset.csrf;
    return template.content;
  }

  function replacePart(name, html) {
    const part = document.getElementById(`part-${name}`);
    if (!part) return;
    const opened = [...part.querySelectorAll("details")].map((one) => one.open);
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(mine(html));
    part.querySelectorAll("details").forEach((one, place) => { one.open = Boolean(opened[place]); });
    if (focused) [...part.querySelectorAll("a")].find((one) => one.getAttribute("href") === focused)?.focus();
  }

  function keepOnly(ids) {
    for (const one of [...list.children]) if (!ids.has(one.id)) one.remove();
  }

  function putLine(line) {
    const there = document.getElementById(`r-${line.id}`);
    const made = mine(line.html).firstElementChild;
    if (there) {
      const typed = there.querySelector('input[name="note"]');
      const field = made.querySelector('input[name="note"]');
      const focused = typed === document.activeElement;
      if (typed && field && !line.seen) field.value = typed.value;
      there.replaceWith(made);
      if (focused && field) field.focus();
      return;
    }
    if (line.kept) return;
    const after = [...list.children].find((one) => Number(one.dataset.at) <= line.at);
    if (!after && list.children.length >= most) return; // older than all that is shown
    list.insertBefore(made, after ?? null);
    while (list.children.length > most) list.lastElementChild.remove();
    if (line.new && !line.seen) {
      made.classList.add("is-new");
      alarm();
    }
  }

  const noteOf = (form) => form.querySelector('input[name="note"]');

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!("marks" in form.dataset)) return;
    event.preventDefault();
    const headers = { "X-Requested-With": "fetch" };
    fetch(form.action, { method: "POST", headers, body: new URLSearchParams(new FormData(form)), redirect: "manual" }).then(
      (answer) => {
        delete form.dataset.sent;
        if (answer.status === 204) noteOf(form).value = "";
        else if (answer.status >= 500) tell("lost"); // the note stays where it is, to be sent again
        else { keepNote(form); location.reload(); } // refused, or the log-in is over: it is not stored
      },
      () => { delete form.dataset.sent; tell("lost"); },
    );
  });

  // What was typed is there again behind the log-in, for who sees that line.
  function keepNote(form) {
    sessionStorage.setItem("huiyin.note", JSON.stringify([form.closest("li").id, noteOf(form).value]));
  }

  function bringNote() {
    const [id, note] = JSON.parse(sessionStorage.getItem("huiyin.note") ?? "[]");
    sessionStorage.removeItem("huiyin.note");
    const form = id && document.getElementById(id)?.querySelector("form");
    if (form && note) noteOf(form).value = note;
  }

  // ── a bad rating is heard and seen ──────────────────────────────────────────────────────────────────────────────

  const wanted = () => Boolean(button) && localStorage.getItem("huiyin.alert") === "1";

  function alarm() {
    if (!wanted()) return;
    sound();
    if (flashing) return;
    let on = false;
    flashing = setInterval(() => { on = !on; document.title = on ? board.dataset.flash + title : title; }, 1000);
  }

  function calm() {
    clearInterval(flashing);
    flashing = null;
    document.title = title;
  }

  function sound() {
    audio = audio ?? new AudioContext();
    const start = audio.currentTime;
    for (const [place, tone] of [880, 660].entries()) {
      const oscillator = audio.createOscillator();
      const gain = audio.createGain();
      oscillator.frequency.value = tone;
      gain.gain.setValueAtTime(0.15, start + place * 0.25);
      gain.gain.exponentialRampToValueAtTime(0.001, start + place * 0.25 + 0.24);
      oscillator.connect(gain).connect(audio.destination);
      oscillator.start(start + place * 0.25);
      oscillator.stop(start + place * 0.25 + 0.25);
    }
  }

  if (button) {
    button.hidden = false;
    button.setAttribute("aria-pressed", String(wanted()));
    button.addEventListener("click", () => {
      localStorage.setItem("huiyin.alert", wanted() ? "0" : "1");
      button.setAttribute("aria-pressed", String(wanted()));
      if (wanted()) sound(); else calm(); // a browser lets a page sound after a click on it
    });
  }
  for (const kind of ["pointerdown", "keydown"]) {
    document.addEventListener(kind, () => { calm(); if (audio) audio.resume(); else if (wanted()) audio = new AudioContext(); });
  }

  bringNote();
  open();
})();
