"""Telling whoever waits for a session that it has ended: `spec.notify`, as a kind of the outbox.

`owe` puts the callback into the outbox together with the outcome, `notifier` makes the POST, `signature`
signs it.
"""
