/* Small things of the pages of customers and profiles. Alpine and htmx are unfold's. */

/* <button data-copy="text">: copy, and say so for a moment. */
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  event.preventDefault();
  const icon = button.querySelector(".material-symbols-outlined");
  const done = () => {
    icon.textContent = "check";
    setTimeout(() => { icon.textContent = "content_copy"; }, 1500);
  };
  // The clipboard is there only over HTTPS or on localhost; elsewhere the old way works.
  if (navigator.clipboard) {
    navigator.clipboard.writeText(button.dataset.copy).then(done);
    return;
  }
  const area = document.createElement("textarea");
  area.value = button.dataset.copy;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  done();
});

/* A form is sent once: a second click while the first is under way does nothing. */
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-once]")) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
  form.querySelectorAll("[type=submit]").forEach((button) => button.classList.add("is-disabled"));
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  document.querySelectorAll("form[data-sent]").forEach((form) => {
    delete form.dataset.sent;
    form.querySelectorAll("[type=submit]").forEach((button) => button.classList.remove("is-disabled"));
  });
});
