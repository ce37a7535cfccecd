"""The commands of `perdure`, one module a group; `perdure.cli.main` imports each when it is called.

What they share lies beside this package, in `perdure.cli`: `options` (help, options), `runner` (how a command ends),
`output` and `arguments` (what it says and takes), and `targets` (a server over HTTP, or a database).
"""
