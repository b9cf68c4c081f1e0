"""What people read: tables of scores. Imports `harness` and `tasks`."""
