"""Remedies several rules share. Each chooses its words and code for the run at hand."""
