"""Routes about workflows: written, published, scheduled, tried."""
