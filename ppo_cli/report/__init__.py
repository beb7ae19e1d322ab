"""From folders of runs to a comparison: reading, grouping, statistics, verdicts, and what shows them."""
