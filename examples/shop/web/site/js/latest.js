// Shows the newest guestbook entry on the front page.
fetch("/api/guestbook").then((answer) => answer.json()).then((found) => {
  const place = document.getElementById("latest");
  if (!found.entries.length) { place.textContent = "Nobody has signed the guestbook yet."; return; }
  const { name, message } = found.entries[0];
  place.textContent = `${message} (${name}, one of ${found.count})`;
});
