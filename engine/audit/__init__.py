"""Audits: a whole store is compared with its log (`perdure verify`), and its projections are rebuilt."""
