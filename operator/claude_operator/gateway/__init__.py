"""The one place that holds credentials: model proxy, git proxy, egress, journal, results, inbox."""
