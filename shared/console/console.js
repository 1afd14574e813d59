/* Keys on lists: j and k go to the next and the last row's link or button; Enter follows it, as always. */
(function () {
  "use strict";
  function typed(target) {
    return /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable;
  }
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
