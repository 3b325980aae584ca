// Runs before the page is drawn, so that it does not flash in the other theme.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const kept = localStorage.getItem("theme");
    const theme = kept === "light" || kept === "dark" ? kept : system.matches ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
    dispatchEvent(new Event("theme"));
  };
  window.toggleTheme = () => {
    localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    show();
  };
  system.addEventListener("change", show);
  show();
})();
