// Runs before the page is drawn, so that neither a chosen theme nor another language flashes.
{
  const page = document.documentElement;
  let [theme, language] = ['', ''];
  try {
    theme = localStorage.getItem('humanparse-theme');
    language = localStorage.getItem('humanparse-language');
  } catch {
    // Nothing is remembered here: what the system says it is.
  }
  if (theme) page.dataset.theme = theme;
  if ((language || navigator.language).startsWith('zh')) page.classList.add('translating');
}
