"""``report.html``: one file that shows a report in any browser, and asks no network for anything."""
