"""Which source a figure has."""

from __future__ import annotations

import msgspec
import pytest

from seedbed.simulate.source import Source, source_of


def test_a_source_that_names_a_figure_goes_before_one_for_all_figures() -> None:
    everything = Source(figures=("all",), source="data sheet", date="2024", trust="from_memory")
    price = Source(figures=("usd_per_hour",), source="price list", date="2026-11-09", trust="read")
    assert source_of((everything, price), "usd_per_hour") == price
    assert source_of((everything, price), "power_w") == everything
    assert source_of((price,), "power_w") is None


@pytest.mark.parametrize("date", ["yesterday", "24-11", "2024-11-1", "11/2024"])
def test_a_date_is_a_year_a_month_or_a_day(date: str) -> None:
    row = {"figures": ["all"], "source": "data sheet", "date": date, "trust": "read"}
    with pytest.raises(msgspec.ValidationError, match="date"):
        msgspec.convert(row, Source)
