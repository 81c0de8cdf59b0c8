// Sets the chosen theme before the first paint; loaded as a classic script in the head for that reason.
(() => {
  let theme = 'auto';
  try {
    theme = localStorage.getItem('advertisex.theme') ?? 'auto';
  } catch {
    // Storage may be forbidden; the page then follows the system.
  }
  document.documentElement.dataset.theme = theme;
})();
