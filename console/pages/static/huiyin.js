/* What pages do better with a script; each works without it.
 *
 *   <form data-once>              the second click on a button does nothing
 *   <form data-confirm="…">       asks before it sends
 *   <select data-submits>         sends its form when something is chosen
 *   <form data-fragment="NAME">   what stands behind # in the address goes into this field, and the form is sent
 *   <button data-copies="ID">     copies the text of an element; hidden without a script
 */
"use strict";

document.documentElement.classList.add("scripted");

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.confirm && !window.confirm(form.dataset.confirm)) {
    event.preventDefault();
    return;
  }
  if (form.method === "post" || "once" in form.dataset) {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
  }
});

// A page that comes back from the browser's memory may send its forms again.
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

document.addEventListener("change", (event) => {
  if ("submits" in event.target.dataset) event.target.form.requestSubmit();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copies]");
  if (!button) return;
  const shown = document.getElementById(button.dataset.copies);
  const selection = window.getSelection();
  selection.selectAllChildren(shown);
  if (navigator.clipboard) navigator.clipboard.writeText(shown.textContent.trim());
  else document.execCommand("copy"); // http without TLS has no clipboard of its own
});

for (const form of document.querySelectorAll("form[data-fragment]")) {
  const told = window.location.hash.slice(1);
  if (!told) continue;
  window.history.replaceState(null, "", window.location.pathname);
  form.elements[form.dataset.fragment].value = told;
  form.requestSubmit();
}
