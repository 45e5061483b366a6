// Counts down while the tea draws.
document.querySelectorAll("[data-minutes]").forEach((button) => button.addEventListener("click", () => {
  let left = Number(button.dataset.minutes) * 60;
  const timer = setInterval(() => {
    button.textContent = left > 0 ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "Pour!";
    if (left-- <= 0) clearInterval(timer);
  }, 1000);
}));
