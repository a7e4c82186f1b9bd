"""Results, read back: tables, charts, comparisons, the page."""
