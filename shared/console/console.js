/* Keys on lists: j and k go to the next and the last row's link or button; Enter follows it, as always. */
(function () {
  "use strict";
  function typed(target) {
    return /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable;
  }
  var told = document.querySelector("[data-keys]");  // said where it is so: only a script hears keys
  if (told) { told.hidden = false; }
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.altKey || event.metaKey || typed(event.target)) { return; }
    var step = { j: 1, k: -1 }[event.key];
    if (!step) { return; }
    var links = Array.prototype.slice.call(document.querySelectorAll("[data-row] [data-main]"));
    if (!links.length) { return; }
    var row = document.activeElement && document.activeElement.closest("[data-row]");
    var at = links.findIndex(function (link) { return row && row.contains(link); });
    var next = at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step;
    if (next < 0 || next >= links.length) { return; }
    links[next].focus();
    links[next].scrollIntoView({ block: "nearest" });
    event.preventDefault();
  });
}());

/* A part that follows what it shows: each event of its address is the part anew; nothing is asked in the background. */
(function () {
  "use strict";
  var part = document.querySelector("[data-follow]");
  var note = document.querySelector("[data-followed]");
  var said = document.querySelector("[data-said]");
  var source = null, over = !part || !window.EventSource;
  function end() {
    if (source) { source.close(); source = null; }
    if (note) { note.hidden = true; }
  }
  function begin() {
    if (over || source || document.hidden) { return; }
    source = new EventSource(part.dataset.follow);
    if (note) { note.hidden = false; }
    source.addEventListener("part", function (event) {
      var fresh = new DOMParser().parseFromString(event.data, "text/html").body;
      var state = fresh.querySelector("[data-state]");
      part.replaceChildren.apply(part, Array.prototype.slice.call(fresh.childNodes));
      if (said && state && said.textContent !== state.textContent) { said.textContent = state.textContent; }
    });
    source.addEventListener("over", function () { over = true; end(); });
    source.addEventListener("error", function () { if (source && source.readyState === EventSource.CLOSED) { end(); } });
  }
  document.addEventListener("visibilitychange", function () { if (document.hidden) { end(); } else { begin(); } });
  begin();
}());

/* A text that is checked as somebody types: by the server's own check, said in the place beside it. */
(function () {
  "use strict";
  var form = document.querySelector("form[data-check]");
  if (!form) { return; }
  var text = form.querySelector("textarea"), into = document.getElementById(form.dataset.into);
  var wait = 0, turn = 0, tries = 3, last = text.defaultValue;
  function later(time) {
    clearTimeout(wait);
    wait = setTimeout(check, time);
  }
  function again() {
    last = "";
    tries -= 1;
    if (tries > 0) { later(3000); }
  }
  function check() {
    var mine = turn += 1;
    if (text.value === last || !text.value.trim()) { return; }
    last = text.value;
    fetch(form.dataset.check, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "error" }).then(function (answer) {
      return answer.ok ? answer.text() : "";
    }).then(function (said) {
      if (mine !== turn) { return; }
      if (!said) { again(); return; }
      var fresh = new DOMParser().parseFromString(said, "text/html").body;
      into.replaceChildren.apply(into, Array.prototype.slice.call(fresh.childNodes));
    }, function () { if (mine === turn) { again(); } });
  }
  text.addEventListener("input", function () {
    tries = 3;
    later(700);
  });
  check();
}());

/* A form that says what is missing while somebody types: the server's own check, asked as by its button. */
(function () {
  "use strict";
  var form = document.querySelector("form[data-typed]"), turn = 0, wait = 0;
  if (!form) { return; }
  function part(root, id) { return root.querySelector("form[data-typed] #" + id); }
  function names(fields) {
    return Array.prototype.map.call(fields.querySelectorAll("[name]"), function (one) { return one.name; }).join(" ");
  }
  function show(page) {
    var found = part(page, "found"), fields = part(page, "fields"), here = part(document, "fields");
    if (!found || !fields) { return fail(); }
    var open = part(document, "found").querySelector("details[open]"), list = found.querySelector("details");
    if (open && list) { list.setAttribute("open", ""); }
    part(document, "found").replaceWith(document.importNode(found, true));
    if (names(fields) !== names(here)) { here.replaceWith(document.importNode(fields, true)); return; }
    fields.querySelectorAll("label[for]").forEach(function (label) {
      var old = here.querySelector("label[for='" + CSS.escape(label.htmlFor) + "']");
      if (old) { old.replaceChildren.apply(old, document.importNode(label, true).childNodes); }
    });
  }
  function fail() { part(document, "found").querySelector("[role=status]").textContent = form.dataset.typed; }
  function ask() {
    var mine = turn += 1, said = new URLSearchParams(new FormData(form));
    said.set("check", "1");
    fetch(form.action, { method: "POST", body: said, redirect: "error" }).then(function (answer) {
      return answer.ok ? answer.text() : "";
    }).then(function (text) {
      if (mine === turn) { show(new DOMParser().parseFromString(text, "text/html")); }
    }, function () { if (mine === turn) { fail(); } });
  }
  form.addEventListener("input", function () {
    turn += 1;
    clearTimeout(wait);
    wait = setTimeout(ask, 400);
  });
}());
