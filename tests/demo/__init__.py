"""`make demo`: the first session, shown to a person from nothing to the diff."""
