"""Processing: from a request to the decision, the commit and the reply."""
