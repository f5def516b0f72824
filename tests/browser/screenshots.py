"""Pictures of the pages for the documentation: ``make screenshots`` writes docs/img from a seeded controller."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from tests.browser.conftest import find_chromium
from tests.browser.seeding import Seeded, seed, serving

DOCS = Path(__file__).resolve().parents[2] / "docs" / "img"
SIZES = {"light": (1280, 800), "dark": (1280, 800), "phone": (390, 844)}


def addresses(seeded: Seeded) -> dict[str, str]:
    """Pages by the name of their picture."""
    kitchen = seeded.devices["kitchen-pi"]
    return {
        "fleet": "/fleet",
        "device": f"/devices/{kitchen}",
        "jobs": "/jobs",
        "job": f"/jobs/{seeded.job_id}",
        "job-live": f"/jobs/{seeded.live_job_id}",
        "new-job": "/jobs/new",
        "run": f"/runs/{seeded.run_id}",
        "run-failed": f"/runs/{seeded.failed_run_id}",
        "results": "/results",
        "comparison": f"/comparisons/{seeded.comparison_id}",
        "front": f"/front?job={seeded.job_id}",
        "models": "/models",
        "model": f"/models/{seeded.model_id}",
        "audit": "/audit",
        "tokens": "/tokens",
        "users": "/users",
    }


def take(browser: Any, seeded: Seeded, folder: Path, names: list[str], looks: list[str]) -> None:
    """Write one picture for each page and look."""
    for look in looks:
        width, height = SIZES[look]
        scheme = "dark" if look == "dark" else "light"
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        page = context.new_page()
        page.goto(f"{seeded.fleet.url}/login")
        page.fill("#token", seeded.fleet.services.operator_token)
        page.click("text=Sign in with the token")
        for name in names:
            page.goto(seeded.fleet.url + addresses(seeded)[name], wait_until="load")
            page.locator("[data-chart]:not([data-state])").first.wait_for(state="detached")
            suffix = "" if look == "light" else f"-{look}"
            page.screenshot(path=folder / f"{name}{suffix}.png", full_page=True)
        context.close()


def main() -> None:
    """Take the pictures that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", help="names of pages; all by default")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of the pictures")
    parser.add_argument("--looks", nargs="*", default=list(SIZES), choices=list(SIZES))
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as fleet, sync_playwright() as driver:
        seeded = seed(fleet)
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        take(browser, seeded, chosen.out, chosen.pages or list(addresses(seeded)), chosen.looks)
        browser.close()


if __name__ == "__main__":
    main()
