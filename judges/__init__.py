"""Who grades: the rubric of programmed checks and the offline refusal judge. Imports only `tasks`."""
