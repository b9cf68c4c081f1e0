"""Models: what a run can put questions to, and what runs it here."""
