"""Inside the session pod: clone, prompt, drive the CLI, publish, report.

`run` tells the whole story; every other module is one thing it needs. The room is grouped by what a
reader looks for:

- the process: `init` (PID 1), `settings`, `stop` (why and how a run ends early), `processes`, `cgroup`
- the gateway: `access` (address, CA, token), `gateway` (its API), `blobs`, `forwarder` and `tunnel`
  (what CLI and git speak to on loopback), `inbox`, `events`
- the work tree: `git` (how the runner calls git), `clone`, `shadow` (snapshots that the agent's
  configuration cannot touch), `checkpoint`, `restore`, `publish`, `artifacts`
- the agent: `prompt`, `cli` (command line and environment), `stream` (what it prints), `agent` (the
  process), `conversation` (turns, messages, interrupts), `verdict` (how it ended)
- the record: `record` (one step: log line and event), `transcript` (the log that a person reads),
  `termination`
"""
