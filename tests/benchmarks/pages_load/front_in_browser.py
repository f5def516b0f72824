"""How long headless Chromium takes to draw the front of many points, by the page's own clock."""

import statistics
from pathlib import Path
from typing import Any

from tests.browser.conftest import find_chromium

JsonObject = dict[str, Any]
PATIENCE_MS = 120_000

_LOADED = "() => document.querySelector('#front-chart')?.dataset.state === 'drawn'"
_SINCE_POINTS = """() => {
  const points = performance.getEntriesByType('resource').find((entry) => entry.name.includes('points.json'));
  return { points_end_ms: points.responseEnd, points_ms: points.duration, now_ms: performance.now() };
}"""
_REDRAW = """() => new Promise((resolve) => {
  const y = document.getElementById('y');
  y.value = y.value === 'accuracy' ? 'energy_mj' : 'accuracy';
  const begin = performance.now();
  y.dispatchEvent(new Event('change', { bubbles: true }));
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - begin)));
})"""
_DRAWN_MARK = """() => {
  window.drawnAt = new Promise((resolve) => {
    const look = () => {
      const chart = document.querySelector('#front-chart');
      if (chart && chart.dataset.state === 'drawn') requestAnimationFrame(() => resolve(performance.now()));
      else requestAnimationFrame(look);
    };
    look();
  });
}"""


def measure_front(url: str, token: str, job_id: str, n_redraws: int = 7) -> JsonObject | None:
    """Milliseconds from the arrival of the points to the drawn chart, and of drawing it anew; None without a browser."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        return None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{url}/login")
        page.fill("#token", token)
        page.click("text=Sign in with the token")
        page.add_init_script(f"({_DRAWN_MARK})()")
        page.goto(f"{url}/front?job={job_id}", wait_until="load")
        page.wait_for_function(_LOADED)
        drawn_ms = page.evaluate("() => window.drawnAt")
        points = page.evaluate(_SINCE_POINTS)
        redraws = [page.evaluate(_REDRAW) for _ in range(n_redraws)]
        n_drawn = page.inner_text("#front-summary")
        browser.close()
    return {
        "first_drawn_ms": drawn_ms,
        "points_ms": points["points_ms"],
        "draw_ms": drawn_ms - points["points_end_ms"],
        "redraw_p50_ms": statistics.median(redraws),
        "redraw_max_ms": max(redraws),
        "summary": n_drawn,
        "browser": Path(path).name,
    }
