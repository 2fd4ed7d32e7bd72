"""GitHub, as the gateway sees it: events come in, answers go out.

`intake` verifies an event and finds its projects, `deliveries` keeps it, `port` hands it to the shim, `facts`
reads what deciding takes; `answers` and `report` keep a comment, a review or labels up to the session.
`logins` finds the credential, `api` carries requests.
"""
