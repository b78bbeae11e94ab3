"""What is told to the books: every event of money, the summary of each day, or both."""

from collections.abc import Mapping
from typing import Any

from installs.models import Install
from webhooks.exported.customers import without_customers
from webhooks.exported.notation import Happening, Part, settings_of

CLOSED = "business_day.closed"
# What the hub calls an account, and the setting with the name that an install's books have for it.
ACCOUNTS = {
    "sales": "account_sales",
    "pbjt_payable": "account_pbjt",
    "service_payable": "account_service",
    "tips_payable": "account_tips",
    "rounding": "account_rounding",
}


def data_export(event: Happening, install: Install) -> Part | None:
    config = settings_of(install)
    sends = config.get("sends") or "both"
    if event.type != CLOSED:
        return None if sends == "daily_summary" else Part(without_customers(event.data))
    summary = event.object("daily_summary")
    if sends == "events" or summary is None:
        return Part(event.data)
    return Part(in_accounts_of(config, summary), "daily_summary", {"": ".daily_summary"})


def in_accounts_of(config: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary with its journal in the accounts of these books."""
    lines = summary.get("journal")
    if not isinstance(lines, list):
        return dict(summary)
    journal = [_in_account_of(config, line) if isinstance(line, dict) else line for line in lines]
    return {**summary, "journal": journal}


def _in_account_of(config: Mapping[str, Any], line: Mapping[str, Any]) -> dict[str, Any]:
    code = line.get("account_code")
    own = config.get(ACCOUNTS.get(code, "")) if isinstance(code, str) else None
    return {**line, "account_code": own or code}
