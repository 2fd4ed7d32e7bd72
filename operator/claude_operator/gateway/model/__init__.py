"""The Messages API on its way through: checked, metered, paid from the session's caps."""
