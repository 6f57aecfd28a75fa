// Runs before the page is drawn, so that the wrong theme or language never flashes up.
{
  const page = document.documentElement;
  let [theme, language] = ['', ''];
  try {
    theme = localStorage.getItem('humanparse-theme');
    language = localStorage.getItem('humanparse-language');
  } catch {
    // Nothing can be remembered here; the settings of the system apply.
  }
  if (theme) page.dataset.theme = theme;
  if ((language || navigator.language).startsWith('zh')) page.classList.add('translating');
}
