"""The log: encoding of events, derived rows, snapshots, and verification of the hash chain."""
