"""The commands of `perdure`, one module a group; `api.cli.main` imports each when it is called.

What they share: `shape` (help, options), `running` (how a command ends), `output` and `values` (what it says and
takes), `views` (a database read beside a server), `changing` (where a change goes: `remote` or `direct`).
"""
